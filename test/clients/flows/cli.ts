/** The `openclaw` command line of both generations: one fresh home and one command a flow, unless the flow says more. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { connectWire, createWireKey } from "../../support/wire-client.ts";
import { findJson, type Flow, getRecord, type Passed, sayScript, withApproval } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { openOpenclawHome, type OpenclawHome } from "../openclaw-home.ts";
import type { Ended } from "../process.ts";
import type { Rig } from "../rig.ts";
import { askForMore, canConnectWith, pairDevice } from "./devices.ts";

interface Command {
  readonly name: string;
  readonly args: (home: OpenclawHome) => readonly string[];
  /** Left out: both. The other one does this without a gateway. */
  readonly generations?: readonly Generation[];
  /** Throws when what was printed is not what a person wants to see. */
  readonly check: (ended: Ended, rig: Rig) => void | Promise<void>;
}

export function cliFlows(generation: Generation, version: string): readonly Flow[] {
  const of = { client: "openclaw", version };
  return [
    ...commands
      .filter(({ generations = [3, 4] }) => generations.includes(generation))
      .map(({ name, args, check }) => ({
        ...of,
        name,
        run: async (rig: Rig) => runCommand(rig, await openOpenclawHome(rig, generation), { args, check }),
      })),
    ...deviceCommands.map(({ name, run }) => ({
      ...of,
      name,
      run: async (rig: Rig) => run(rig, await openOpenclawHome(rig, generation)),
    })),
    { ...of, name: "agent --session-id", run: async (rig) => continueSession(rig, await openOpenclawHome(rig, generation)) },
    { ...of, name: "logs --follow", run: async (rig) => followLogs(rig, await openOpenclawHome(rig, generation)) },
    { ...of, name: "nodes approve", run: async (rig) => approveNode(rig, await openOpenclawHome(rig, generation)) },
    {
      ...of,
      name: "health, then devices list, on one identity",
      run: async (rig) => narrowThenWide(rig, await openOpenclawHome(rig, generation)),
    },
    {
      ...of,
      name: "devices list, then health, on one identity",
      run: async (rig) => wideThenNarrow(rig, await openOpenclawHome(rig, generation)),
    },
  ];
}

const flag =
  (...words: readonly string[]) =>
  (home: OpenclawHome): readonly string[] => [...words, ...home.access];
const plain =
  (...words: readonly string[]) =>
  (): readonly string[] =>
    words;
const prints =
  (...what: readonly RegExp[]) =>
  ({ out }: Ended): void =>
    what.forEach((one) => match(out, one));

const commands: readonly Command[] = [
  { name: "gateway call health", args: flag("gateway", "call", "health"), check: prints(/"ok": true/, /"defaultAgentId": "main"/) },
  { name: "gateway call sessions.list", args: flag("gateway", "call", "sessions.list"), check: prints(/"sessions": \[/) },
  { name: "gateway call, a method there is not", args: flag("gateway", "call", "no.such.method"), check: isUnknown },
  { name: "gateway health", args: flag("gateway", "health"), check: prints(/OK \(\d+ms\)/) },
  { name: "gateway status", args: flag("gateway", "status"), check: prints(/(Connectivity|RPC) probe: ok/) },
  { name: "gateway probe", args: flag("gateway", "probe"), check: isProbed },
  { name: "health", args: plain("health"), check: prints(/Agents: main \(default\)/, /Session store/) },
  { name: "health --json", args: plain("health", "--json"), check: isHealthy },
  { name: "status", args: plain("status"), check: prints(/reachable \d+ms/) },
  { name: "status --json", args: plain("status", "--json"), check: isReachable },
  { name: "system presence", args: flag("system", "presence"), check: hasGatewayPresence },
  { name: "channels status", args: plain("channels", "status"), check: prints(/Gateway reachable/) },
  { name: "models list", args: plain("models", "list"), check: prints(/Model\s+Input/), generations: [4] },
  { name: "cron list", args: flag("cron", "list"), check: isFine },
  { name: "nodes status", args: flag("nodes", "status"), check: prints(/Known: \d+ · Paired: \d+ · Connected: \d+/) },
  { name: "nodes list", args: flag("nodes", "list"), check: isNodeList },
  { name: "agent", args: plain("agent", "--agent", "main", "-m", sayScript("ahoy")), check: prints(/^ahoy$/m) },
  { name: "agent --json", args: plain("agent", "--agent", "main", "-m", sayScript("ahoy"), "--json"), check: isRunResult },
  {
    name: "agent that spawns a sub-agent",
    args: plain("agent", "--agent", "main", "-m", spawnScript()),
    check: prints(/the child said: look: found the pier/),
  },
];

export async function runCommand(rig: Rig, home: OpenclawHome, { args, check }: Pick<Command, "args" | "check">): Promise<Passed> {
  return await withApproval(rig, async () => {
    const ended = await home.run(...args(home));
    const shown = `${ended.out}${ended.err}`;
    if (/pairing required/.test(shown)) return { shown, done: false };
    try {
      await check(ended, rig);
    } catch (error) {
      throw new Error(
        `${error instanceof Error ? error.message.split("\n")[0] : String(error)}\nit printed (code ${ended.code}):\n${shown}`,
        {
          cause: error,
        },
      );
    }
    return { shown, done: true };
  });
}

function isFine({ code }: Ended): void {
  equal(code, 0);
}

function isUnknown({ code, out, err }: Ended): void {
  ok(code !== 0);
  match(out + err, /unknown method: no\.such\.method/);
}

function isProbed({ code, out }: Ended): void {
  equal(code, 0);
  match(out, /Reachable: yes/);
  match(out, /Connect: ok/);
  ok(!/(RPC|Read probe): failed|follow-up read diagnostics failed/.test(out));
}

function isHealthy({ code, out }: Ended): void {
  equal(code, 0);
  equal(getRecord(findJson(out), "health")["ok"], true);
}

function isReachable({ code, out }: Ended): void {
  equal(code, 0);
  equal(getRecord(getRecord(findJson(out), "status")["gateway"], "gateway")["reachable"], true);
}

function hasGatewayPresence({ code, out }: Ended): void {
  equal(code, 0);
  const entries = findJson(out);
  ok(Array.isArray(entries) && entries.some((entry) => getRecord(entry, "entry")["mode"] === "gateway"));
}

function isNodeList({ code, out }: Ended): void {
  equal(code, 0);
  match(out, /Pending: \d+ · Paired: \d+/);
  ok(!/unavailable/.test(out));
}

function isRunResult({ code, out }: Ended): void {
  equal(code, 0);
  const run = getRecord(findJson(out), "run");
  equal(run["status"], "ok");
  match(JSON.stringify(run["result"]), /"text":"ahoy/);
}

function spawnScript(): string {
  const child = sayScript("found the pier");
  const steps = [
    { call: [{ tool: "sessions_spawn", args: { task: child, label: "look" } }] },
    { awaitChildren: true },
    { say: "the child said: {{children}}" },
  ];
  return `@script ${JSON.stringify(steps)}`;
}

interface DeviceCommand {
  readonly name: string;
  readonly run: (rig: Rig, home: OpenclawHome) => Promise<Passed>;
}

/** Each against a device of its own. */
const deviceCommands: readonly DeviceCommand[] = [
  {
    name: "devices list",
    run: async (rig, home) => {
      const key = await pairDevice(rig);
      return await runCommand(rig, home, { args: flag("devices", "list", "--json"), check: prints(new RegExp(key.id)) });
    },
  },
  {
    name: "devices approve",
    run: async (rig, home) => {
      const { requestId, key } = await askForMore(rig);
      return await runCommand(rig, home, {
        args: flag("devices", "approve", requestId),
        check: () => canConnectWith(rig, key, ["operator.read", "operator.write"]),
      });
    },
  },
  {
    name: "devices reject",
    run: async (rig, home) => {
      const { requestId } = await askForMore(rig);
      return await runCommand(rig, home, {
        args: flag("devices", "reject", requestId),
        check: async () => {
          const { pending } = await rig.call<{ pending: { requestId: string }[] }>("device.pair.list");
          ok(pending.every((one) => one.requestId !== requestId));
        },
      });
    },
  },
  {
    name: "devices remove",
    run: async (rig, home) => {
      const key = await pairDevice(rig);
      return await runCommand(rig, home, {
        args: flag("devices", "remove", key.id),
        check: async () => {
          const { paired } = await rig.call<{ paired: { deviceId: string }[] }>("device.pair.list");
          ok(paired.every((one) => one.deviceId !== key.id));
        },
      });
    },
  },
  ...(["rotate", "revoke"] as const).map((verb): DeviceCommand => ({
    name: `devices ${verb}`,
    run: async (rig, home) => {
      const key = await pairDevice(rig);
      return await runCommand(rig, home, {
        args: flag("devices", verb, "--device", key.id, "--role", "operator"),
        check: async () => {
          const { paired } = await rig.call<{ paired: { deviceId: string; tokens: Record<string, unknown>[] }[] }>("device.pair.list");
          const token = paired.find((one) => one.deviceId === key.id)?.tokens[0];
          ok(token?.[verb === "rotate" ? "rotatedAtMs" : "revokedAtMs"] !== undefined);
        },
      });
    },
  })),
];

async function continueSession(rig: Rig, home: OpenclawHome): Promise<Passed> {
  const { sessions } = await rig.call<{ sessions: { key: string; sessionId: string }[] }>("sessions.list");
  const sessionId = sessions.find(({ key }) => key === "agent:main:main")?.sessionId;
  if (sessionId === undefined) throw new Error("there is no main session");
  return await runCommand(rig, home, {
    args: plain("agent", "--session-id", sessionId, "-m", sayScript("ahoy again"), "--json"),
    check: ({ out }) => match(JSON.stringify(findJson(out)), new RegExp(`"text":"ahoy again.*${sessionId}`)),
  });
}

async function followLogs(rig: Rig, home: OpenclawHome): Promise<Passed> {
  await pairDevice(rig);
  await using following = home.start("logs", "--follow", "--plain", "--limit", "50", ...home.access);
  await following.says(/paired/);
  const key = await pairDevice(rig);
  await following.says(new RegExp(key.id));
  await following.stop("SIGINT");
  return { upgrade: "not asked" };
}

/** A node host of the reference asks for its commands as this does. */
async function approveNode(rig: Rig, home: OpenclawHome): Promise<Passed> {
  const key = createWireKey();
  await using _node = await connectWire(rig.gateway.url, {
    key,
    token: rig.gateway.token,
    role: "node",
    client: { id: "node-host", mode: "node", displayName: "shed" },
    extra: { caps: ["system"], commands: ["system.which"] },
  });
  const { pending } = await rig.call<{ pending: { requestId: string; nodeId: string }[] }>("node.pair.list");
  const requestId = pending.find(({ nodeId }) => nodeId === key.id)?.requestId;
  if (requestId === undefined) throw new Error("the node's request does not wait");
  return await runCommand(rig, home, {
    args: flag("nodes", "approve", requestId),
    check: async () => {
      const { paired } = await rig.call<{ paired: { nodeId: string }[] }>("node.pair.list");
      ok(paired.some(({ nodeId }) => nodeId === key.id));
    },
  });
}

/** Some commands ask for reading alone, and others for everything: which comes first decides whether an approval is needed. */
async function narrowThenWide(rig: Rig, home: OpenclawHome): Promise<Passed> {
  await readHealth(rig, home);
  const passed = await listDevices(rig, home);
  const again = [await listDevices(rig, home), await readHealth(rig, home)];
  deepEqual(
    again.map(({ upgrade }) => upgrade),
    ["not asked", "not asked"],
  );
  return passed;
}

async function wideThenNarrow(rig: Rig, home: OpenclawHome): Promise<Passed> {
  const both = [await listDevices(rig, home), await readHealth(rig, home)];
  deepEqual(
    both.map(({ upgrade }) => upgrade),
    ["not asked", "not asked"],
  );
  return { upgrade: "not asked" };
}

function readHealth(rig: Rig, home: OpenclawHome): Promise<Passed> {
  return runCommand(rig, home, { args: plain("health", "--json"), check: isHealthy });
}

function listDevices(rig: Rig, home: OpenclawHome): Promise<Passed> {
  return runCommand(rig, home, { args: flag("devices", "list", "--json"), check: isFine });
}
