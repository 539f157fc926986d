/** Whatever refuses a command, a person reads what happened and then the next step. Against real gateways. */
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { openHome, runCli, type CliHome } from "./support/cli.ts";
import { script } from "./support/script.ts";
import { tamper } from "./support/stored-pairing.ts";

/** How a command comes to be refused with a code. `given`: what happens on the fresh home before. */
interface Case {
  readonly code: string;
  readonly args: readonly string[];
  readonly config?: object;
  readonly env?: Readonly<Record<string, string>>;
  given?(home: CliHome): Promise<unknown>;
  /** For a command that is run elsewhere than on the home. */
  run?(home: CliHome, args: readonly string[]): ReturnType<typeof runCli>;
}

const call = (method: string, params: object): readonly string[] => ["call", method, JSON.stringify(params)];

/** On a home that knows nothing of the gateway but its address. */
const elsewhere: NonNullable<Case["run"]> = ({ path, gateway }, args) =>
  runCli([...args, "--url", gateway.url], { PORTREEVE_HOME: join(path, "elsewhere") });

async function narrowOwnDevice(home: CliHome): Promise<void> {
  await home.cli(["status"]);
  const own = await ownDeviceId(home);
  await home.cli(["devices", "rotate", own, "--scopes", "operator.read"]);
}

/** Its token is replaced behind its back, and the secret that would get it the next one is gone. */
async function loseToken(home: CliHome): Promise<void> {
  await home.cli([...call("device.token.rotate", { deviceId: await ownDeviceId(home), role: "operator" }), "--scopes", "operator.admin"]);
  await rm(join(home.path, "state/secret"));
}

async function ownDeviceId(home: CliHome): Promise<string> {
  const { paired } = JSON.parse((await home.cli(["devices", "--json"])).out) as { paired: { deviceId: string }[] };
  return paired[0]?.deviceId ?? "";
}

const cases: readonly Case[] = [
  { code: "USAGE", args: ["agent"] },
  { code: "UNREACHABLE", args: ["status"], env: { PORTREEVE_URL: "ws://127.0.0.1:9" } },
  { code: "GATEWAY_START", args: ["gateway", "run"], given: ({ path }) => writeFile(join(path, "config.json5"), "{ nonsense: 1 }") },
  { code: "UNKNOWN_METHOD", args: ["call", "nope"] },
  { code: "INVALID_PARAMS", args: call("sessions.list", { limit: "many" }) },
  { code: "NOT_ALLOWED", args: call("agent", { message: "x", idempotencyKey: "k", lane: "x" }) },
  { code: "NOT_SUPPORTED", args: call("agent", { message: "x", idempotencyKey: "k", attachments: [{}] }) },
  { code: "MISSING_SCOPE", args: ["call", "status", "--scopes", ""] },
  { code: "WRONG_CALLER", args: ["call", "subagents.yield"] },
  {
    code: "IDEMPOTENCY_MISMATCH",
    args: call("agent", { message: "y", idempotencyKey: "k" }),
    given: ({ cli }) => cli(call("agent", { message: "x", idempotencyKey: "k" })),
  },
  { code: "UNKNOWN_REQUEST", args: ["devices", "approve", "zz", "--yes"] },
  { code: "UNKNOWN_REQUEST", args: [...call("device.pair.reject", { requestId: "zz" })] },
  { code: "UNKNOWN_DEVICE", args: ["devices", "remove", "zz"] },
  { code: "UNKNOWN_DEVICE", args: [...call("device.pair.remove", { deviceId: "zz" }), "--scopes", "operator.admin"] },
  {
    code: "DEVICE_ACTION_DENIED",
    args: [...call("device.token.rotate", { deviceId: "zz", role: "operator" }), "--scopes", "operator.admin"],
  },
  { code: "UNKNOWN_SESSION", args: call("agent", { message: "x", sessionId: "nope", idempotencyKey: "k" }) },
  { code: "UNKNOWN_AGENT_ID", args: ["agent", "--agent", "nobody", "hi"] },
  { code: "MAIN_SESSION", args: call("sessions.delete", { key: "main" }) },
  { code: "MODEL_UNUSABLE", args: call("sessions.patch", { key: "notes", model: "nope/none" }) },
  { code: "RUN_FAILED", args: ["agent", script("x", { fail: { kind: "auth", retryable: false } })] },
  { code: "RUN_TIMEOUT", args: ["agent", "--timeout", "1", script("x", { hang: true })] },
  { code: "PAIRING_REQUIRED", args: ["agent", "hi"], config: { gateway: { pairing: { autoApproveLocal: false } } } },
  {
    code: "CONFIRMATION_NEEDED",
    args: ["devices", "approve"],
    config: { gateway: { pairing: { autoApproveLocal: false } } },
    given: ({ cli }) => cli(["status"]),
    async run(home, args) {
      const { pending } = JSON.parse((await home.cli(["devices", "--json"])).out) as { pending: { requestId: string }[] };
      return home.cli([...args.slice(0, 2), pending[0]?.requestId ?? "", ...args.slice(2)]);
    },
  },
  { code: "AUTH_TOKEN_MISSING", args: ["status"], run: elsewhere },
  { code: "AUTH_TOKEN_MISMATCH", args: ["status", "--token", "wrong"], run: elsewhere },
  { code: "AUTH_SCOPE_MISMATCH", args: ["call", "status", "--scopes", "operator.admin"], given: narrowOwnDevice },
  { code: "AUTH_DEVICE_TOKEN_MISMATCH", args: ["status"], given: loseToken },
  {
    code: "DEVICE_RECORD_CORRUPT",
    args: ["status"],
    async given(home) {
      await home.cli(["status"]);
      tamper(join(home.path, "state"), "update device_grants set scopes = '{'");
    },
  },
];

/** What a person may do without a command: the step is a sentence about the parameters. */
const stepsWithoutCommand = ["UNKNOWN_METHOD", "INVALID_PARAMS", "NOT_ALLOWED", "NOT_SUPPORTED", "IDEMPOTENCY_MISMATCH"];

for (const { code, args, config, env, given, run } of cases) {
  test(`${code} from ${args.slice(0, 3).join(" ").slice(0, 60)} is said with the next step`, async () => {
    await using home = await openHome(config);
    await given?.(home);
    const runHere = run ?? ((_home, words) => home.cli(words, env));

    const asJson = await runHere(home, [...args, "--json"]);
    const asText = await runHere(home, args);

    const { error } = JSON.parse(asJson.err) as { error: { code: string; message: string; remedy: string } };
    assert.equal(error.code, code, asJson.err);
    assert.notEqual(asText.code, 0);
    const command = stepsWithoutCommand.includes(code) ? "" : "\\./portreeve ";
    assert.match(error.remedy, new RegExp(`${command}\\S`));
    assert.match(asText.err, new RegExp(`^portreeve: \\S.*\\n[^]*${command}\\S`));
  });
}
