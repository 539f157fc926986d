/** What may happen in a world, by weight: a new kind of action is one line. */
import type { Command } from "./callers.ts";
import { drawJob } from "./job-drawing.ts";
import { reads, writes } from "./faulty-database.ts";
import type { World } from "./world.ts";

type Act = (world: World) => void | Promise<void>;

/** Writes of a process that carries runs on. */
const runWrites = /^runs\.(?:append|park|end|spawn)$/;
const anyWrites = /^runs\./;

const rooms = ["agent:main:main", "agent:main:room", "agent:helper:main"] as const;

export const actions: readonly (readonly [number, string, Act])[] = [
  [6, "send", (world) => world.callers.command("chat.send", anyRoom(world))],
  [5, "steer", (world) => world.callers.command("chat.send", anyRoom(world), { queueMode: "steer" })],
  [4, "send to follow", (world) => world.callers.command("chat.send", anyRoom(world), { queueMode: "followup" })],
  [4, "send to collect", (world) => world.callers.command("chat.send", anyRoom(world), { queueMode: "collect" })],
  [3, "interrupt", (world) => world.callers.command("chat.send", anyRoom(world), { queueMode: "interrupt" })],
  [8, "run an agent", (world) => world.callers.command("agent", anyRoom(world))],
  [4, "send with a deadline", (world) => world.callers.command("chat.send", anyRoom(world), { timeoutMs: 1 + world.random.int(60_000) })],
  [4, "spawn from outside", (world) => world.callers.command("subagents.spawn", anyRoom(world), drawCleanup(world))],
  [3, "leave a note", (world) => world.callers.command("sessions.send", anyRoom(world), { mode: "notify" })],
  [2, "send to a child", (world) => withChild(world, (key) => world.callers.command("sessions.send", key))],
  [5, "send into a child's session", (world) => withChild(world, (key) => world.callers.command("chat.send", key))],
  [8, "give a command again", (world) => withCommand(world, (command) => world.callers.give(command))],
  [3, "use a key for other words", (world) => withAcknowledged(world, (command) => world.callers.giveOther(command))],
  [4, "cancel a session", (world) => cancel(world, { sessionKey: anyRoom(world) })],
  [4, "cancel a child", (world) => withChild(world, (sessionKey) => cancel(world, { sessionKey }))],
  [4, "cancel a run", (world) => withAcknowledged(world, ({ sessionKey, runId }) => cancel(world, { sessionKey, runId }))],
  [3, "say /stop", (world) => world.callers.ask("chat.send", { sessionKey: anyRoom(world), message: "/stop", idempotencyKey: "stop" })],
  [3, "delete a room", (world) => deleteSession(world, "agent:main:room")],
  [3, "delete a child", (world) => withChild(world, (key) => deleteSession(world, key))],
  [3, "empty a room", (world) => resetSession(world, anyRoom(world))],
  [2, "empty a child's session", (world) => withChild(world, (key) => resetSession(world, key))],
  [2, "empty as it writes", (world) => world.interject(runWrites, ({ args }) => resetSession(world, sessionOf(world, args)))],
  [5, "deliver again", (world) => withChildRun(world, (runId) => decide(world, "runs.retry", runId))],
  [2, "dismiss", (world) => withChildRun(world, (runId) => decide(world, "runs.dismiss", runId))],
  [2, "archive a child", (world) => withChild(world, (key) => world.callers.ask("sessions.patch", { key, archived: true }))],
  [8, "crash", (world) => world.crash()],
  [8, "crash soon", (world) => crashSoon(world, 60, /./)],
  [
    10,
    "crash at a write",
    (world) => crashSoon(world, 3, world.random.pick([/inbox/, /into "journal"/, /into "runs"/, /"messages"/, /commit/])),
  ],
  [5, "restart", restart],
  [4, "restart with other limits", (world) => ((world.limits = world.drawLimits()), restart(world))],
  [4, "freeze, and start another", freezeAndReplace],
  [6, "freeze as it writes", (world) => world.interject(runWrites, () => freezeAndReplace(world))],
  [8, "cancel as it writes", (world) => world.interject(runWrites, ({ args }) => cancel(world, { sessionKey: sessionOf(world, args) }))],
  [3, "delete as it writes", (world) => world.interject(runWrites, ({ args }) => deleteSession(world, sessionOf(world, args)))],
  [4, "send as it writes", (world) => world.interject(runWrites, ({ args }) => world.callers.command("chat.send", sessionOf(world, args)))],
  [3, "freeze as it claims, and the clock goes back", (world) => world.interject(/^runs\.claim$/, () => freezeAndSetBack(world))],
  [6, "wake a frozen one", wake],
  [5, "the disk is full", (world) => refuseSome(world, 12)],
  [5, "the disk is full as it writes", (world) => world.interject(anyWrites, () => refuseSome(world, 4))],
  [3, "the disk is full at a deadline", (world) => world.interject(/^runs\.expire$/, () => refuseSome(world, 2))],
  [3, "the disk cannot be read", (world) => refuseSome(world, 6, reads)],
  [3, "the disk cannot be read as it works", (world) => world.interject(/^sessions\.view$/, () => refuseSome(world, 3, reads))],
  [3, "a commit fails", (world) => world.database.refuse(1 + world.random.int(3), /^commit/, () => world.random.chance(0.5))],
  [8, "add a job", (world) => world.callers.addJob(drawJob(world))],
  [3, "start a job by hand", (world) => withJob(world, (id) => world.callers.askOfJob("cron.run", id))],
  [3, "change a job", (world) => withJob(world, (id) => changeJob(world, id))],
  [1, "remove a job", (world) => withJob(world, (id) => world.callers.askOfJob("cron.remove", id))],
  [1, "read what came of jobs", (world) => (world.callers.ask("cron.list", { includeDisabled: true }), world.callers.ask("cron.runs", {}))],
  [2, "crash at a job's time", (world) => (needJob(world), crashSoon(world, 3, world.random.pick([/"cron_/, /into "cron_fires"/])))],
  [3, "freeze at a job's time", (world) => (needJob(world), world.interject(/^cron\.fire$/, () => freezeAndReplace(world)))],
  [2, "the disk is full at a job's time", (world) => (needJob(world), world.interject(/^cron\./, () => refuseSome(world, 4)))],
  [2, "the clock goes elsewhere at a job's time", (world) => (needJob(world), world.interject(/^cron\./, () => jumpAnywhere(world)))],
  [3, "change a job at its time", (world) => (needJob(world), changeDue(world))],
  [2, "the clock goes forward", (world) => world.timeline.jump(world.random.int(120_000))],
  [4, "the machine sleeps", sleepAndSend],
  [2, "the clock goes back", (world) => world.timeline.jump(-world.random.int(120_000))],
  [10, "wait a moment", (world) => world.advance(world.random.int(500))],
  [10, "wait", (world) => world.advance(world.random.int(40_000))],
];

function crashSoon(world: World, within: number, matching: RegExp): void {
  world.crashSoon({ inStatements: world.random.int(within), matching, when: world.random.pick(["before", "after"]) });
}

function refuseSome({ database, random }: World, most: number, what: RegExp = writes): void {
  database.refuse(1 + random.int(most), what, () => random.chance(0.5));
}

/** Leases run out meanwhile; whoever asks first afterwards finds them so. */
function sleepAndSend(world: World): void {
  world.timeline.jump(30_000 + world.random.int(60_000));
  world.callers.command("chat.send", anyRoom(world));
}

/** Of the run that a store call names, of its parent, or any. */
function sessionOf(world: World, [runId]: readonly unknown[]): string {
  const [own, parent] = typeof runId === "string" ? world.judge.sessionsOf(runId) : [];
  return (world.random.chance(0.4) ? parent : own) ?? own ?? anyRoom(world);
}

function anyRoom({ random }: World): string {
  return random.pick(rooms);
}

function drawCleanup({ random }: World): Readonly<Record<string, unknown>> {
  return random.chance(0.5) ? { cleanup: "delete" } : {};
}

function withChild(world: World, act: (key: string) => void): void {
  const [first, ...rest] = world.judge.childSessions();
  if (first !== undefined) act(world.random.pick([first, ...rest]));
}

function withCommand(world: World, act: (command: Command) => void, commands: readonly Command[] = world.callers.commands): void {
  const [first, ...rest] = commands;
  if (first !== undefined) act(world.random.pick([first, ...rest]));
}

function withAcknowledged(world: World, act: (command: Command) => void): void {
  withCommand(
    world,
    act,
    world.callers.commands.filter((one) => one.runId !== undefined),
  );
}

function cancel(world: World, params: { readonly sessionKey: string; readonly runId?: string | undefined }): void {
  const { life } = world;
  world.callers.ask("chat.abort", params, { onAnswer: (answer) => world.judge.cancelled(answer, life) });
}

function deleteSession(world: World, key: string): void {
  world.callers.ask("sessions.delete", { key }, { onError: (error) => error.code === "SESSION_BUSY" || error.code === "MAIN_SESSION" });
}

function resetSession(world: World, key: string): void {
  world.callers.ask("sessions.reset", { key }, { onError: (error) => error.code === "SESSION_BUSY" || error.code === "UNKNOWN_SESSION" });
}

/** Only what no turn has safely read can be decided about. */
function decide(world: World, name: "runs.retry" | "runs.dismiss", runId: string): void {
  world.callers.ask(name, { runId }, { onError: (error) => error.code === "DELIVERY_SETTLED" || error.code === "UNKNOWN_SESSION" });
}

function withChildRun(world: World, act: (runId: string) => void): void {
  const [first, ...rest] = world.judge.unsettledChildren();
  if (first !== undefined) act(world.random.pick([first, ...rest]));
}

function withJob(world: World, act: (id: string) => void): void {
  const [first, ...rest] = world.judge.jobs.ids;
  if (first !== undefined) act(world.random.pick([first, ...rest]));
}

function needJob(world: World): void {
  if (!world.judge.jobs.hasOpenWork()) world.callers.addJob(drawJob(world));
}

function changeJob(world: World, id: string): void {
  const { random } = world;
  const { name, schedule } = drawJob(world);
  const patch = random.pick<object>([{ enabled: !world.judge.jobs.isEnabled(id) }, { name }, { schedule, name }]);
  world.callers.askOfJob("cron.update", id, { patch });
}

/** Between the moment at which it is found to be due and the one at which it starts. */
function changeDue(world: World): void {
  world.interject(/^cron\.listDue$/, () => {
    const [due] = world.judge.jobs.due();
    if (due === undefined) changeDue(world);
    else changeJob(world, due);
  });
}

function jumpAnywhere({ timeline, random }: World): void {
  timeline.jump(random.int(120_000) - 60_000);
}

async function restart(world: World): Promise<void> {
  await world.stop();
  world.start();
}

function freezeAndReplace(world: World): void {
  if (world.life?.isReady !== true) return;
  world.life.freeze();
  world.zombies.add(world.life);
  world.life = undefined;
  world.start();
}

/** What it asked for is answered when it wakes, by another time than it asked at. */
function freezeAndSetBack(world: World): void {
  freezeAndReplace(world);
  world.timeline.jump(-30_000 - world.random.int(60_000));
}

function wake(world: World): void {
  for (const zombie of world.zombies) zombie.thaw();
}
