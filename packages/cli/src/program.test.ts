import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { captureIo, type CapturedIo } from "../../../test/support/captured-io.ts";
import { startPeer, type Peer, type PeerOptions, type PeerRequest } from "../../../test/support/scripted-peer.ts";
import manifest from "../package.json" with { type: "json" };
import { createProgram, run } from "./program.ts";

interface World extends AsyncDisposable {
  readonly peer: Peer;
  readonly io: CapturedIo;
  readonly home: string;
  run(...args: string[]): Promise<number>;
}

/** A fresh home whose environment names a peer that answers as the test says. */
async function startWorld(options: PeerOptions, ioOptions: { isTerminal?: boolean; answer?: string } = {}): Promise<World> {
  const folder = await mkdtempDisposable(join(tmpdir(), "portreeve-cli-"));
  const peer = await startPeer({ onConnect: () => ({ deviceToken: "t1" }), ...options });
  const io = captureIo({
    env: { PORTREEVE_HOME: folder.path, PORTREEVE_URL: peer.url, PORTREEVE_TOKEN: "s3cret" },
    cwd: folder.path,
    ...ioOptions,
  });
  return {
    peer,
    io,
    home: folder.path,
    run: (...args) => run(args, io),
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]();
      await folder.remove();
    },
  };
}

test("the version is printed without loading the program", async () => {
  const main = join(import.meta.dirname, "main.ts");

  for (const flag of ["--version", "-V"]) {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, flag]);
    assert.deepEqual([stdout, stderr], [`${manifest.version}\n`, ""]);
  }
});

const usage: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [["frobnicate"], /unknown command 'frobnicate'/],
  [["status", "--bogus"], /unknown option '--bogus'/],
  [["devices", "aprove", "4f9d"], /unknown command 'aprove' of devices/],
  [["devices", "approve", "4f9d", "--minutes", "0"], /Expected a whole number from 1 to 10080/],
  [["agent"], /missing required argument 'message'/],
  [["agent", "hi", "--timeout", "soon"], /Expected a whole number from 0 to 86400/],
  [["gateway", "run", "--port", "70000"], /Expected a whole number from 0 to 65535/],
  [["call", "health", "{"], /not JSON/],
  [["demo", "--base-url", "http://127.0.0.1:1/v1"], /needs --model/],
  [["demo", "--dir", "/no/such/folder"], /cannot be read \(ENOENT\)/],
];

for (const [args, message] of usage) {
  test(`"${args.join(" ")}" is a usage error`, async () => {
    const [io, jsonIo] = [captureIo(), captureIo()];

    const codes = [await run(args, io), await run([...args, "--json"], jsonIo)];

    assert.deepEqual(codes, [2, 2]);
    assert.match(io.stderr, message);
    assert.ok(io.stderr.trimEnd().split("\n").length <= 2, io.stderr);
    assert.deepEqual([io.stdout, jsonIo.stdout], ["", ""]);
    const { error } = JSON.parse(jsonIo.stderr) as { error: { code: string; message: string; remedy: string } };
    assert.equal(error.code, "USAGE");
    assert.match(error.message, message);
  });
}

test("every command that does something has examples in its help, and help ends well", async () => {
  const leaves = createProgram(captureIo()).commands.flatMap((command) =>
    command.commands.length === 0 ? [[command.name()]] : command.commands.map((sub) => [command.name(), sub.name()]),
  );

  for (const words of leaves) {
    const io = captureIo();
    assert.equal(await run([...words, "--help"], io), 0);
    assert.match(io.stdout, /Examples:\n {2}\.\/portreeve /, words.join(" "));
  }
  assert.deepEqual(
    leaves.map((words) => words.join(" ")),
    [
      "gateway run",
      "agent",
      "acp",
      "devices list",
      "devices approve",
      "devices reject",
      "devices remove",
      "devices rename",
      "devices rotate",
      "devices revoke",
      "devices invite",
      "devices token",
      "devices watch",
      "pair",
      "gateways list",
      "gateways forget",
      "health",
      "status",
      "presence",
      "sessions list",
      "agents list",
      "logs",
      "nodes list",
      "nodes approve",
      "nodes invoke",
      "approvals list",
      "approvals approve",
      "approvals deny",
      "usage",
      "runs list",
      "runs show",
      "runs tree",
      "runs cancel",
      "runs retry",
      "runs dismiss",
      "cron list",
      "cron add",
      "cron run",
      "cron remove",
      "cron enable",
      "cron disable",
      "cron runs",
      "audit list",
      "audit verify",
      "audit export",
      "why",
      "doctor",
      "backup",
      "restore",
      "import openclaw",
      "call",
      "demo",
    ],
  );
});

test("a group without a command shows its help and is a usage error", async () => {
  const io = captureIo();

  assert.equal(await run(["gateway"], io), 2);

  assert.match(io.stderr, /Usage: portreeve gateway/);
});

test("a mistake leads to the help of the command it was made in", async () => {
  const io = captureIo();

  await run(["devices", "approve"], io);
  await run(["nonsense"], io);

  assert.match(io.stderr, /^See `\.\/portreeve devices approve --help`\.$/m);
  assert.match(io.stderr, /^See `\.\/portreeve --help`\.$/m);
});

test("with nobody there a command says so and how to start a gateway", async () => {
  await using world = await startWorld({});
  await world.peer[Symbol.asyncDispose]();

  const code = await world.run("health");

  assert.equal(code, 3);
  assert.equal(
    world.io.stderr,
    `portreeve: No gateway answers at ${world.peer.url}.\nStart one with \`./portreeve gateway run\` (or \`npm start\`).\n`,
  );
});

const calls: readonly (readonly [args: readonly string[], expected: readonly string[]])[] = [
  [["call", "health"], ["health []"]],
  [["call", "sessions.delete", '{"key":"x"}'], ["sessions.delete [operator.admin]"]],
  [["call", "status", "--scopes", "operator.admin"], ["status [operator.admin]"]],
  [["call", "status", "--scopes", ""], ["status []"]],
  [
    ["call", "device.pair.list"],
    ["device.pair.list [operator.pairing]", "device.pair.list [operator.admin]"],
  ],
];

for (const [args, expected] of calls) {
  test(`"${args.join(" ")}" asks for exactly ${expected.join()}`, async () => {
    await using world = await startWorld({ onRequest: ({ answer }) => answer({ fine: true }) });

    assert.equal(await world.run(...args, "--json"), 0);

    assert.deepEqual(JSON.parse(world.io.stdout), { fine: true });
    assert.deepEqual(world.peer.calls, expected);
    assert.deepEqual((await readdir(join(world.home, "cli"))).toSorted(), ["device.pem", "gateways.json", "tokens.json"]);
  });
}

test("a refusal is printed with its remedy, and its code tells authorisation from failure", async () => {
  await using world = await startWorld({
    onRequest: ({ method, refuse }) =>
      refuse(
        method === "status"
          ? {
              code: "FORBIDDEN",
              message: "missing scope: operator.read",
              details: { code: "MISSING_SCOPE", remediationHint: "ask for it" },
            }
          : { code: "INVALID_REQUEST", message: `unknown method: ${method}` },
      ),
  });

  const codes = [await world.run("status"), await world.run("call", "nope")];

  assert.deepEqual(codes, [4, 1]);
  assert.match(
    world.io.stderr,
    /^portreeve: missing scope: operator\.read\nask for it\nLeave --scopes out.*\nportreeve: unknown method: nope\nSee /,
  );
});

/** An agent that says hello, spawns a child, and whose child's result is read by a later run. */
function answerAgent({ method, params, answer, event }: PeerRequest): void {
  if (method !== "agent") return answer({});
  const { idempotencyKey: runId, message } = params as { idempotencyKey: string; message: string }; // The command under test wrote it.
  const of = (stream: string, data: object, run = runId): void =>
    event("agent", { runId: run, sessionKey: "agent:main:main", agentId: "main", seq: 1, ts: 1, stream, data });
  answer({ runId, sessionKey: "agent:main:main", agentId: "main", status: "accepted", acceptedAt: 1 });
  of("assistant", { text: "Hel", delta: "Hel" });
  of("assistant", { text: "Hello", delta: "lo" });
  const child = { childSessionKey: "agent:main:subagent:c", childRunId: "c1", label: "kid" };
  if (message !== "alone") of("subagent", { phase: "spawned", ...child, scopes: ["operator.write"] });
  const status = message === "slow" ? "timeout" : message === "bad" ? "error" : "ok";
  answer({ runId, status, summary: status, result: { payloads: [{ text: "Hello", mediaUrl: null }], meta: {} } });
  if (message !== "later") return;
  of("subagent", { phase: "announced", ...child, status: "succeeded", result: "child's find" }, "announce:1");
  event("chat", {
    runId: "announce:1",
    sessionKey: "agent:main:main",
    agentId: "main",
    seq: 2,
    state: "final",
    message: { role: "assistant", content: [{ type: "text", text: "All done" }], timestamp: 1 },
  });
}

test("into a pipe an agent's answer is all that is printed", async () => {
  await using world = await startWorld({ onRequest: answerAgent });

  assert.equal(await world.run("agent", "alone"), 0);

  assert.deepEqual([world.io.stdout, world.io.stderr], ["Hello\n", ""]);
  assert.deepEqual(world.peer.calls, ["agent [operator.write]"]);
});

test("on a terminal the text is streamed once, and who was started goes to standard error", async () => {
  await using world = await startWorld({ onRequest: answerAgent }, { isTerminal: true });

  assert.equal(await world.run("agent", "later"), 0);

  assert.equal(world.io.stdout, "Hello\nAll done\n");
  // Whether the child is still open when the first answer is printed depends on how the frames arrive.
  const told = world.io.stderr.replace("waiting for 1 sub-agent\n", "");
  assert.equal(told, "main spawned kid with operator.write (agent:main:subagent:c)\nkid came back to main: succeeded: child's find\n");
});

test("a run's later answer, with its children's results, is the answer", async () => {
  await using world = await startWorld({ onRequest: answerAgent });

  assert.equal(await world.run("agent", "later", "--json"), 0);

  const printed = JSON.parse(world.io.stdout) as { answer: string; later: unknown };
  assert.equal(printed.answer, "All done");
  assert.deepEqual(printed.later, [{ runId: "announce:1", status: "ok", text: "All done" }]);
});

test("--no-wait leaves open children to the gateway", async () => {
  await using world = await startWorld({ onRequest: answerAgent });

  assert.equal(await world.run("agent", "children go on", "--no-wait"), 0);

  assert.equal(world.io.stdout, "Hello\n");
});

for (const [message, code] of [
  ["slow", 5],
  ["bad", 1],
] as const) {
  test(`a run that ends as ${message} ends the command with ${code}`, async () => {
    await using world = await startWorld({ onRequest: answerAgent });

    assert.equal(await world.run("agent", message, "--no-wait"), code);

    assert.equal(world.io.stdout, "Hello\n");
  });
}

test("a gateway that goes away while children are awaited ends the wait", async () => {
  await using world = await startWorld({
    onRequest(asked) {
      answerAgent(asked);
      asked.close(1012, "service restart");
    },
  });

  assert.equal(await world.run("agent", "children go on"), 3);

  assert.match(world.io.stderr, /1012: service restart/);
});

test("a gateway that cannot start says why in one line, and what to do in another", async () => {
  await using world = await startWorld({});
  await writeFile(join(world.home, "config.json5"), "{ gatway: {} }");

  assert.equal(await world.run("gateway", "run", "--port", "0"), 1);

  assert.match(world.io.stderr, /^portreeve: The gateway does not start: .*config\.json5: gatway: unknown key\n.*gateway run\n$/);
});

test("a gateway runs until it is interrupted, says where its secret is, and never the secret", async () => {
  await using world = await startWorld({});
  const running = world.run("gateway", "run", "--port", "0", "--json");
  world.io.interrupt();

  assert.equal(await running, 0);

  const { url, secretFrom, model } = JSON.parse(world.io.stdout) as Record<string, string>;
  assert.match(url ?? "", /^ws:\/\/127\.0\.0\.1:\d+$/);
  assert.equal(secretFrom, "PORTREEVE_TOKEN");
  assert.equal(model, "scripted/scripted");
  assert.doesNotMatch(world.io.stdout + world.io.stderr, /s3cret/);
});

test("a gateway that starts says what to do next, and that its model does not think", async () => {
  await using world = await startWorld({});
  const running = world.run("gateway", "run", "--port", "0");
  world.io.interrupt();

  assert.equal(await running, 0);

  assert.match(world.io.stdout, /^Model +scripted\/scripted [^]*It does not think\.[^]*^Next +.*\.\/portreeve agent /m);
});

test("the demo answers from real files over two sub-agents, without a socket of the gateway's own or a prompt, and leaves nothing behind", async () => {
  await using world = await startWorld({});
  const [project, temporary] = [join(world.home, "project"), join(world.home, "tmp")];
  await Promise.all([mkdir(project), mkdir(temporary)]);
  await writeFile(join(project, "README.md"), "# The lighthouse\n\nKeeps ships off rocks.\n");
  const io = captureIo({ env: { TMPDIR: temporary, PORTREEVE_TOKEN: "another gateway's" }, cwd: world.home });

  const code = await run(["demo", "--model", "scripted", "--dir", "project", "--json"], io);

  assert.equal(code, 0, io.stderr);
  const lines = io.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const { answer, ...counts } = lines.at(-1) ?? {};
  assert.match(String(answer), /# The lighthouse/);
  assert.deepEqual(counts, {
    model: "scripted/scripted",
    selfSockets: 0,
    pairingPrompts: 0,
    children: { accepted: 2, completed: 2, announced: 2 },
  });
  assert.deepEqual(
    lines.filter(({ kind }) => kind === "spawned").map(({ scopes }) => scopes),
    [["operator.write"], ["operator.write"]],
  );
  assert.equal(lines.filter(({ kind }) => kind === "announced").length, 2);
  assert.deepEqual(await readdir(temporary), []);
});
