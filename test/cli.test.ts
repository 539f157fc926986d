/** The command line against a real gateway, each test on a fresh home. */
import assert from "node:assert/strict";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { openHome, runCli } from "./support/cli.ts";
import { bareEnv, startGatewayProcess } from "./support/gateway-process.ts";
import { script, spawnStep } from "./support/script.ts";
import { connectWire, createWireKey, refusedConnect } from "./support/wire-client.ts";

/** One command for each set of scopes the command line uses, and those a newcomer types first. */
const commands: readonly (readonly string[])[] = [
  ["health"],
  ["status"],
  ["sessions", "list"],
  ["agents", "list"],
  ["devices", "list"],
  ["agent", "hello"],
  ["call", "sessions.patch", '{"key":"notes","label":"Notes"}'],
  ["call", "sessions.delete", '{"key":"gone"}'],
  ["call", "chat.history", '{"sessionKey":"main"}'],
];

for (const first of commands) {
  test(`after ${first.join(" ")} as the first command on a fresh home, every other one works without a prompt`, async () => {
    for (const second of commands) {
      await using home = await openHome();

      const outcomes = [await home.cli(first), await home.cli(second), await home.cli(first)];
      const status = JSON.parse((await home.cli(["status", "--json"])).out) as { pairing: object };

      assert.deepEqual(
        outcomes.map(({ code }) => code),
        [0, 0, 0],
        `${second.join(" ")}: ${outcomes.map(({ err }) => err).join("\n")}`,
      );
      assert.deepEqual(status.pairing, { requestsCreated: 0, pending: 0 });
    }
  });
}

test("the device's key and tokens are readable by their owner alone, and the token is not the shared secret", async () => {
  await using home = await openHome();

  await home.cli(["status"]);
  const modes = await Promise.all(
    ["cli", "state", "state/secret", "state/token-key", "state/portreeve.db", "state/gateway.json"].map(async (name) =>
      ((await stat(join(home.path, name))).mode & 0o777).toString(8),
    ),
  );

  assert.deepEqual(modes, ["700", "700", "600", "600", "600", "600"]);
});

test("devices list, approve and reject decide about a device that waits", async () => {
  await using home = await openHome({ gateway: { trustedProxies: ["127.0.0.1"] } });
  const secret = await readSecret(home.path);
  const [wanted, unwanted] = [createWireKey(), createWireKey()];
  const remote = { "x-forwarded-for": "203.0.113.9" };
  const asks = { scopes: ["operator.read"], token: secret };
  const first = await refusedConnect(home.gateway.url, { key: wanted, ...asks }, remote);
  const second = await refusedConnect(home.gateway.url, { key: unwanted, ...asks }, remote);

  const approved = await home.cli(["devices", "approve", String(first.error.details?.["requestId"]), "--yes"]);
  const rejected = await home.cli(["devices", "reject", String(second.error.details?.["requestId"])]);
  await using wire = await connectWire(home.gateway.url, { key: wanted, ...asks }, remote);
  const list = await home.cli(["devices", "list"]);

  assert.deepEqual([approved.code, rejected.code], [0, 0]);
  assert.equal((await wire.request("status")).ok, true);
  assert.match(list.out, / read .* by hand$/m);
});

test("a device's name is one line without controls in everything that is said of it", async () => {
  await using home = await openHome();
  const { paired } = JSON.parse((await home.cli(["devices", "--json"])).out) as { paired: { deviceId: string }[] };
  const id = paired[0]?.deviceId ?? "";
  const label = "\u001b[31mred\u0007\u009b2J\nPaired: somebody else";

  const outcomes = [
    await home.cli(["devices", "rename", id, label]),
    await home.cli(["devices", "list", "--json"]),
    await home.cli(["devices", "revoke", id, "--role", "no\nsuch\u001b[31m"]),
    await home.cli(["devices", "rotate", id]),
    await home.cli(["devices", "remove", id]),
  ];

  for (const { out, err } of outcomes) {
    assert.doesNotMatch(out + err, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|^Paired: somebody/mu);
  }
  assert.match(outcomes[0]?.out ?? "", /^Renamed: .* is now called red Paired: somebody else\.\n$/);
  const list = JSON.parse(outcomes[1]?.out ?? "") as { paired: { operatorLabel?: string }[] };
  assert.equal(list.paired[0]?.operatorLabel, label);
  assert.match(outcomes[4]?.out ?? "", /^Removed: red Paired: somebody else \([0-9a-f]{8}\) is not paired/);
});

test("an owner whose own device waits for an approval can still approve it", async () => {
  await using home = await openHome({ gateway: { pairing: { autoApproveLocal: false } } });

  const refused = await home.cli(["status"]);
  const list = JSON.parse((await home.cli(["devices", "list", "--json"])).out) as { pending: { requestId: string }[] };
  const approved = await home.cli(["devices", "approve", list.pending[0]?.requestId ?? "", "--yes"]);
  const served = await home.cli(["status"]);

  assert.equal(refused.code, 4);
  assert.match(refused.err, /devices approve/);
  assert.deepEqual([approved.code, served.code], [0, 0]);
});

test("a terminal that rotates its own token goes on with the next one, without the secret", async () => {
  await using home = await openHome();
  const { paired } = JSON.parse((await home.cli(["devices", "--json"])).out) as { paired: { deviceId: string }[] };
  const before = await readFile(join(home.path, "cli/tokens.json"), "utf8");

  const rotated = await home.cli(["devices", "rotate", paired[0]?.deviceId ?? ""]);
  await rm(join(home.path, "state/secret"));
  const after = await home.cli(["status"]);

  assert.deepEqual([rotated.code, after.code], [0, 0], after.err);
  assert.match(rotated.out, /This terminal has the next one/);
  assert.notEqual(await readFile(join(home.path, "cli/tokens.json"), "utf8"), before);
});

test("a terminal that removes itself has to be approved again, and its owner can", async () => {
  await using home = await openHome();
  const { paired } = JSON.parse((await home.cli(["devices", "--json"])).out) as { paired: { deviceId: string }[] };

  const removed = await home.cli(["devices", "remove", paired[0]?.deviceId ?? ""]);
  const refused = await home.cli(["status"]);
  const request = /approve (\w+)/.exec(refused.err)?.[1] ?? "";
  const approved = await home.cli(["devices", "approve", request, "--yes"]);
  const served = await home.cli(["status"]);

  assert.deepEqual([removed.code, refused.code, approved.code, served.code], [0, 4, 0, 0], approved.err);
});

test("agent waits for children that the run left behind, and prints what came of them", async () => {
  await using home = await openHome();
  const message = script(
    "go",
    { call: [spawnStep("late", { call: [{ tool: "ls", args: {} }] }, { say: "here I am" })] },
    { say: "first" },
    { say: "then {{children}}" },
  );

  const { code, out, err } = await home.cli(["agent", message]);

  assert.equal(code, 0, err);
  assert.match(out, /first[^]*then late: here I am/);
});

for (const [how, flags] of [
  ["killed", []],
  ["killed, and followed", ["--follow"]],
  ["stopped", []],
] as const) {
  test(`an agent whose gateway is ${how} in the run names the run, which is found there once the gateway is back`, async () => {
    await using gateway = await startGatewayProcess({ config: { gateway: { drainSeconds: 0 } } });
    const env = bareEnv(gateway.home);
    const lost = runCli(["agent", script("x", { hang: true }), ...flags], env);
    while (!(await runCli(["runs", "list", "--json"], env)).out.includes('"running"')) await new Promise(setImmediate);

    if (how === "stopped") await gateway.stop("SIGTERM");
    else await gateway.kill();
    const { code, err } = await lost;
    const [, run = "no run named"] = /\.\/portreeve runs show (\S+)/.exec(err) ?? [];
    await gateway.start();
    const shown = await runCli(["runs", "show", run], env);

    assert.equal(code, 3, err);
    assert.match(err, /accepted and goes on/);
    assert.equal(shown.code, 0, shown.err);
  });
}

test("a failed run is exit code 1 with the reason", async () => {
  await using home = await openHome();

  const { code, err } = await home.cli(["agent", script("x", { fail: { kind: "auth", retryable: false } })]);

  assert.equal(code, 1);
  assert.match(err, /failure of kind auth/);
});

test("without a gateway every command says so and how to start one", async () => {
  await using home = await openHome();
  const { url } = home.gateway;
  await home.gateway[Symbol.asyncDispose]();

  for (const command of commands) {
    const { code, err } = await home.cli(command, { PORTREEVE_URL: url });

    assert.equal(code, 3, command.join(" "));
    assert.match(err, /gateway run/);
  }
});

test("a wrong command line is exit code 2, and with --json the error is one object", async () => {
  await using home = await openHome();

  const codes = await Promise.all(
    [["nonsense"], ["call"], ["call", "status", "{not json"], ["devices", "approve"]].map(async (args) => (await home.cli(args)).code),
  );
  const json = await home.cli(["call", "no.such.method", "{}", "--json"]);

  assert.deepEqual(codes, [2, 2, 2, 2]);
  assert.equal(json.code, 1);
  assert.match((JSON.parse(json.err) as { error: { message: string } }).error.message, /no\.such\.method/);
});

const mistakes: readonly (readonly [args: readonly string[], env: Record<string, string>, says: RegExp])[] = [
  [["status"], { PORTREEVE_URL: "nonsense" }, /PORTREEVE_URL is nonsense; expected an address such as ws:\/\//],
  [["status"], { PORTREEVE_URL: "ftp://x" }, /PORTREEVE_URL is ftp:\/\/x; expected/],
  [["status", "--url", "nonsense"], {}, /--url is nonsense; expected an address such as ws:\/\//],
  [["call", ""], {}, /method's name is empty; expected one such as health[^]*methods\.md/],
  [["agent", " "], {}, /message is empty; expected what the agent is to do[^]*\.\/portreeve agent "/],
  [["cron", "add", "", "--every", "1h"], {}, /message is empty; expected what the agent is to do[^]*\.\/portreeve cron add "/],
];

for (const [args, env, says] of mistakes) {
  test(`${args.join(" ")} with ${JSON.stringify(env)} is a mistake of the command line that says what was expected`, async () => {
    const { code, err } = await runCli(args, { PORTREEVE_HOME: "/nonexistent/portreeve", ...env });

    assert.equal(code, 2, err);
    assert.match(err, says);
  });
}

test("a job for a tool that there is not is refused, and a job that there is not has no history", async () => {
  await using home = await openHome();

  const refused = await home.cli(["cron", "add", "look", "--every", "1h", "--tools", "read, nosuch"]);
  const added = await home.cli(["cron", "add", "look", "--every", "1h", "--tools", "read,ls"]);
  const unknown = await home.cli(["cron", "runs", "nosuch"]);

  assert.deepEqual([refused.code, added.code, unknown.code], [2, 0, 1], refused.err + added.err);
  assert.match(refused.err, /no tool nosuch; the tools are .*read/);
  assert.match(unknown.err, /no job nosuch[^]*\.\/portreeve cron list --all/);
});

test("the secret of this home is not sent to another gateway", async () => {
  await using own = await openHome();
  await using other = await openHome();

  const { code, err } = await runCli(["status"], { PORTREEVE_HOME: own.path, PORTREEVE_URL: other.gateway.url });
  const list = JSON.parse((await other.cli(["status", "--json"])).out) as { pairing: { requestsCreated: number } };

  assert.notEqual(code, 0);
  assert.doesNotMatch(err, new RegExp(await readSecret(own.path)));
  assert.equal(list.pairing.requestsCreated, 0);
});

async function readSecret(home: string): Promise<string> {
  return (await readFile(join(home, "state", "secret"), "utf8")).trim();
}
