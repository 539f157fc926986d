/** One simulation: a seed's steps, and then the calm in which everything must come to its end. */
// What the engine loads when it first needs it would come at another time in every process.
import "../../packages/gateway/src/cron/expression.ts";
import { actions } from "./actions.ts";
import type { FaultyDatabase } from "./faulty-database.ts";
import { World } from "./world.ts";

/** Time enough for every lease, retry, deadline and clean-up there is, once nothing hinders them. */
const calmMs = 15 * 60_000;

const disabled = { patch: { enabled: false } };

export interface Simulated {
  readonly story: readonly string[];
  /** How often each kind of action was taken, and what of each kind came to pass. */
  readonly taken: ReadonlyMap<string, number>;
}

/** @throws SimulationError when something came to pass that must not. */
export async function simulate(seed: number, database: FaultyDatabase): Promise<Simulated> {
  const world = new World(seed, database);
  const taken = new Map<string, number>();
  try {
    await takeSteps(world, taken);
    await comeToRest(world);
    for (const [what, times] of world.judge.outcomes()) taken.set(what, times);
    if (world.machine.begun > 0) taken.set("a program ran", world.machine.begun);
  } catch (error) {
    throw new SimulationError(seed, world.story, error);
  } finally {
    world.crash();
  }
  return { story: world.story, taken };
}

export class SimulationError extends Error {
  override readonly name = "SimulationError";

  constructor(seed: number, story: readonly string[], cause: unknown) {
    const what = cause instanceof Error ? (cause.name === "Violation" ? cause.message : String(cause.stack)) : String(cause);
    const problem = `PORTREEVE_SEED=${seed}: ${what}`;
    // Once more at its end: of a long output somebody may see that alone.
    super([problem, ...story.map((line) => `  ${line}`), problem].join("\n"), { cause });
  }
}

async function takeSteps(world: World, taken: Map<string, number>): Promise<void> {
  const { random } = world;
  world.start();
  await world.settle();
  for (let steps = 8 + random.int(20); steps > 0; steps -= 1) {
    const [, name, act] = random.weighted(actions.map((action) => [action[0], action] as const));
    world.tell(name);
    taken.set(name, (taken.get(name) ?? 0) + 1);
    await act(world);
    if (random.chance(0.6)) await world.settle();
    else for (let ticks = random.int(6); ticks > 0; ticks -= 1) await world.tick();
    world.start();
    world.judge.lookAtChangedRuns();
  }
}

async function comeToRest(world: World): Promise<void> {
  if (world.random.chance(0.3)) {
    world.tell("deaf");
    world.deafen();
    world.callers.command("chat.send", "agent:main:room");
  }
  world.tell("calm");
  await world.calmDown();
  const calmFromMs = world.timeline.nowMs;
  for (let passedMs = 0; passedMs < calmMs; passedMs += 60_000) {
    world.start();
    for (const jobId of world.judge.jobs.endless(calmFromMs)) world.callers.askOfJob("cron.update", jobId, disabled);
    await world.advance(60_000);
    if (passedMs >= 120_000 + world.timeline.setBackMs && !world.judge.hasOpenWork()) break;
  }
  // Whoever misses the end of a job's run removes the job when it starts.
  if (world.judge.jobs.hasSpent()) await world.stop();
  world.start();
  await world.settle();
  world.judge.lookAtTheEnd();
}
