/** `doctor` on real folders: everything is broken once, found, and cured as it says. */
import assert from "node:assert/strict";
import { chmod, mkdir, open, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import type { Examination, Finding } from "../packages/gateway/src/doctor/doctor.ts";
import { type CliHome, type CliOutcome, openHome, runCli } from "./support/cli.ts";
import { bareEnv, startGatewayProcess } from "./support/gateway-process.ts";
import { script } from "./support/script.ts";
import { storeDevice, tamper } from "./support/stored-pairing.ts";
import { createWireKey, refusedConnect } from "./support/wire-client.ts";

interface Diagnosis {
  readonly outcome: CliOutcome;
  readonly problems: readonly Finding[];
  /** The status of one check: the worst it found. */
  statusOf(check: string): Finding["status"] | undefined;
}

async function doctor(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Diagnosis> {
  const outcome = await runCli(["doctor", "--json", ...args], env);
  const { findings } = JSON.parse(outcome.out) as Examination;
  const statuses = ["problem", "note", "ok"] as const;
  return {
    outcome,
    problems: findings.filter(({ status }) => status === "problem"),
    statusOf: (check) => statuses.find((status) => findings.some((finding) => finding.check === check && finding.status === status)),
  };
}

/** A home whose gateway was used and then stopped. */
async function openStoppedHome(): Promise<CliHome & { readonly env: Readonly<Record<string, string>>; readonly state: string }> {
  const home = await openHome();
  assert.equal((await home.cli(["agent", "hello"])).code, 0);
  await home.gateway[Symbol.asyncDispose]();
  return { ...home, env: { PORTREEVE_HOME: home.path }, state: join(home.path, "state") };
}

test("a gateway that works is well, while it runs and when it is stopped, and nothing is changed or left behind", async () => {
  await using home = await openHome();
  await home.cli(["agent", "hello"]);
  const env = { PORTREEVE_HOME: home.path };

  const up = await doctor(env);
  await home.gateway[Symbol.asyncDispose]();
  const before = await snapshot(home.path);
  const down = await doctor(env);

  assert.deepEqual([up.problems, down.problems], [[], []]);
  assert.deepEqual([up.outcome.code, down.outcome.code], [0, 0]);
  assert.deepEqual([up.statusOf("gateway"), down.statusOf("gateway")], ["ok", "note"]);
  assert.deepEqual(await snapshot(home.path), before);
});

/** Every file with its content and mode. */
async function snapshot(path: string): Promise<readonly string[]> {
  const names = (await readdir(path, { recursive: true })).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const found = await stat(join(path, name));
      return `${name} ${found.mode} ${found.mtimeMs} ${found.isFile() ? await readFile(join(path, name), "base64") : ""}`;
    }),
  );
}

test("a home where nothing is yet is no problem, and stays as it is", async () => {
  await using home = await openStoppedHome();
  const fresh = join(home.path, "fresh");

  const { outcome, statusOf } = await doctor({ PORTREEVE_HOME: fresh });

  assert.equal(outcome.code, 0);
  assert.deepEqual([statusOf("state folder"), statusOf("database")], ["note", "note"]);
  await assert.rejects(stat(fresh));
});

test("a state folder of the first schema is examined and its audit verified, without being brought to the newest", async () => {
  await using home = await openStoppedHome();
  const fresh = join(home.path, "older");
  const state = join(fresh, "state");
  await mkdir(state, { recursive: true, mode: 0o700 });
  const fixture = await readFile(join(import.meta.dirname, "fixtures/schema-001.sql"), "utf8");
  await writeFile(join(state, "portreeve.db"), "", { mode: 0o600 });
  tamper(state, fixture);

  const { problems, statusOf } = await doctor({ PORTREEVE_HOME: fresh });
  const verified = await runCli(["audit", "verify", "--state", state], {});

  assert.deepEqual(problems, []);
  assert.equal(statusOf("schema"), "note");
  assert.match(verified.out, /^The audit holds: \d+ row/);
});

interface Damage {
  readonly check: string;
  readonly harm: (home: { readonly path: string; readonly state: string }) => Promise<unknown>;
  readonly says: RegExp;
}

const pageBytes = 4_096;

async function configure(path: string, text: string, mode = 0o600): Promise<void> {
  await writeFile(join(path, "config.json5"), text);
  await chmod(join(path, "config.json5"), mode);
}

/** Changes the last key of an index's first page, or all of the page. */
async function harmIndex(path: string, index: string, part: "last byte" | "whole page"): Promise<void> {
  const start = (rootOf(path, index) - 1) * pageBytes;
  await using file = await open(path, "r+");
  const { buffer } = await file.read(Buffer.alloc(pageBytes), 0, pageBytes, start);
  if (part === "whole page") buffer.fill(0);
  else buffer.writeUInt8(buffer.readUInt8(pageBytes - 1) ^ 1, pageBytes - 1);
  await file.write(buffer, 0, pageBytes, start);
}

function rootOf(path: string, index: string): number {
  using db = new DatabaseSync(path, { readOnly: true });
  return Number(db.prepare("select rootpage from sqlite_master where name = ?").get(index)?.["rootpage"]);
}

const damages: Readonly<Record<string, Damage>> = {
  "a folder that others may enter": {
    check: "state folder",
    harm: ({ state }) => chmod(state, 0o755),
    says: /mode is 755.*chmod 700/,
  },
  "a secret that others may read": { check: "state folder", harm: ({ state }) => chmod(join(state, "secret"), 0o644), says: /chmod 600/ },
  "a token key of the wrong length": {
    check: "keys",
    harm: ({ state }) => writeFile(join(state, "token-key"), "short"),
    says: /32 bytes.*rm \S+token-key.*gateway run/,
  },
  "a gateway key that is none": {
    check: "keys",
    harm: ({ state }) => writeFile(join(state, "gateway-key.pem"), "x"),
    says: /no Ed25519 key.*gateway-key\.pem.*backup/,
  },
  "an empty secret": { check: "keys", harm: ({ state }) => writeFile(join(state, "secret"), ""), says: /secret is empty/ },
  "files from the future": {
    check: "clock",
    harm: ({ state }) => utimes(join(state, "secret"), new Date("2200-01-01"), new Date("2200-01-01")),
    says: /2200.*went back.*set-ntp/,
  },
  "an unknown key": {
    check: "configuration",
    harm: ({ path }) => writeFile(join(path, "config.json5"), "{ gatway: {} }"),
    says: /gatway: unknown key/,
  },
  "a secret in a configuration that others may read": {
    check: "configuration",
    harm: ({ path }) =>
      writeFile(join(path, "config.json5"), '{ gateway: { auth: { token: "an-elephant-and-a-lamp-post" } } }').then(() =>
        chmod(join(path, "config.json5"), 0o644),
      ),
    says: /open to others.*chmod 600/,
  },
  "a provider's key in a configuration that others may write": {
    check: "configuration",
    harm: ({ path }) => configure(path, '{ models: { providers: { openai: { api: "openai", apiKey: "sk-1" } } } }', 0o666),
    says: /open to others.*chmod 600/,
  },
  "a password in a configuration that others may read": {
    check: "configuration",
    harm: ({ path }) => configure(path, '{ gateway: { auth: { mode: "password", password: "an-elephant-and-a-lamp-post" } } }', 0o604),
    says: /open to others.*chmod 600/,
  },
  "a configuration without a secret that others may write": {
    check: "configuration",
    harm: ({ path }) => configure(path, "{}", 0o646),
    says: /others may write.*chmod 644/,
  },
  "every address, without TLS": {
    check: "configuration",
    harm: ({ path }) => configure(path, '{ gateway: { bind: "lan" } }'),
    says: /does not start: gateway\.bind is lan and gateway\.tls\.mode is off.*gateway run/,
  },
  "every address, without TLS as it was told": {
    check: "exposure",
    harm: ({ path }) => configure(path, '{ gateway: { bind: "lan", tls: { insecurePlaintext: true } } }'),
    says: /without TLS/,
  },
  "a tool that there is not": {
    check: "configuration",
    harm: ({ path }) => configure(path, '{ agents: { entries: { main: { tools: { allow: ["nosuch"] } } } } }'),
    says: /does not start: .*unknown tool nosuch.*gateway run/,
  },
  "a secret's file that is not there": {
    check: "configuration",
    harm: ({ path }) => configure(path, '{ gateway: { auth: { tokenFile: "nosuch" } } }'),
    says: /does not start: .*nosuch cannot be read \(ENOENT\).*gateway run/,
  },
  "a certificate that is not there": {
    check: "configuration",
    harm: ({ path }) => configure(path, '{ gateway: { tls: { mode: "files", certFile: "cert.pem", keyFile: "key.pem" } } }'),
    says: /does not start: .*key\.pem cannot be read \(ENOENT\).*gateway run/,
  },
  "a stand-in of a provider that there is not": {
    check: "models",
    harm: ({ path }) => configure(path, '{ agents: { defaults: { fallbacks: ["foo/bar"] } } }'),
    says: /agent main, fallback foo\/bar: there is no provider "foo"/,
  },
  "a model whose key is missing": {
    check: "models",
    harm: ({ path }) => writeFile(join(path, "config.json5"), '{ agents: { defaults: { model: "openai/gpt-5.5" } } }'),
    says: /OPENAI_API_KEY/,
  },
  "a workspace that is no folder": {
    check: "workspaces",
    harm: ({ path }) => writeFile(join(path, "config.json5"), '{ agents: { entries: { main: { workspace: "/no/such/folder" } } } }'),
    says: /mkdir -p \/no\/such\/folder/,
  },
  "a file that is no database": {
    check: "database",
    harm: ({ state }) => writeFile(join(state, "portreeve.db"), "this was a database once, and is a letter now".repeat(100)),
    says: /cannot be read.*backup/,
  },
  "an index that says otherwise than its table": {
    check: "database",
    harm: ({ state }) => harmIndex(join(state, "portreeve.db"), "sessions_by_update", "last byte"),
    says: /check found: row \d+ missing from index sessions_by_update.*backup/,
  },
  "an index that was overwritten": {
    check: "database",
    harm: ({ state }) => harmIndex(join(state, "portreeve.db"), "runs_by_status", "whole page"),
    says: /malformed.*backup/,
  },
  "a schema of a newer version": {
    check: "schema",
    harm: ({ state }) => Promise.resolve(tamper(state, "insert into kysely_migration values ('999-future', '2999-01-01')")),
    says: /999-future.*that version/,
  },
  "a changed row of the audit": {
    check: "audit",
    harm: ({ state }) => Promise.resolve(tamper(state, "update audit set actor = 'device:me' where seq = 1")),
    says: /row 1 .*audit verify/,
  },
  "a corrupt device": { check: "devices", harm: ({ state }) => Promise.resolve(storeDevice(state, "corrupt")), says: /cannot be read/ },
  "a device below what its client declares": {
    check: "devices",
    harm: ({ state }) => Promise.resolve(tamper(state, `update device_grants set scopes = '["operator.read"]'`)),
    says: /lacks .*operator\.admin.*tokens\.json/,
  },
};

for (const [what, { check, harm, says }] of Object.entries(damages)) {
  test(`${what} is found and named, with what cures it`, async () => {
    await using home = await openStoppedHome();

    await harm(home);
    const { outcome, problems } = await doctor(home.env);

    assert.deepEqual([...new Set(problems.map((finding) => finding.check))], [check], JSON.stringify(problems));
    assert.match(`${problems[0]?.text} ${problems[0]?.cure}`, says);
    assert.equal(outcome.code, 1);
    assert.match(outcome.err, /PROBLEMS_FOUND/);
  });
}

test("a device below its ceiling is cured by the very steps that the doctor names", async () => {
  await using home = await openHome();
  const env = { PORTREEVE_HOME: home.path };
  await home.cli(["status"]);
  tamper(join(home.path, "state"), `update device_grants set scopes = '["operator.read"]'`);

  const [sick] = (await doctor(env)).problems;
  const [remove = ""] = (sick?.cure ?? "").split("; ");
  await rm(remove.replace(/^rm /, ""));
  const refused = await home.cli(["status"]);
  const waits = await doctor(env);
  const approve = waits.problems[0]?.cure?.replace("./portreeve ", "").split(" ") ?? [];
  const approved = await home.cli([...approve, "--yes"]);
  const well = await doctor(env);

  assert.equal(remove, `rm ${join(home.path, "cli/tokens.json")}`);
  assert.equal(refused.code, 4);
  assert.match(approve.join(" "), /^devices approve [0-9a-f]{24}$/);
  assert.equal(approved.code, 0, approved.err);
  assert.deepEqual(well.problems, []);
});

test("a device with the limits that its invitation or its approval gave it is no problem", async () => {
  await using home = await openHome();
  const invited = join(home.path, "invited");
  await home.cli(["status"]);
  const { setupCode } = JSON.parse((await home.cli(["devices", "invite", "--json"])).out) as { setupCode: string };

  const paired = await runCli(["pair", setupCode, "--yes"], { PORTREEVE_HOME: invited });
  const atGateway = await doctor({ PORTREEVE_HOME: home.path });
  const atDevice = await doctor({ PORTREEVE_HOME: invited }, "--state", join(home.path, "state"));

  assert.equal(paired.code, 0, paired.err);
  assert.deepEqual([atGateway.problems, atDevice.problems], [[], []]);
});

test("a request that waits is told beside a running gateway, with the command that decides it", async () => {
  await using home = await openHome({ gateway: { trustedProxies: ["127.0.0.1"] } });
  const token = (await readFile(join(home.path, "state/secret"), "utf8")).trim();
  const ask = { key: createWireKey(), token, scopes: ["operator.read"] };
  const { error } = await refusedConnect(home.gateway.url, ask, { "x-forwarded-for": "203.0.113.9" });

  const { out, code } = await runCli(["doctor"], { PORTREEVE_HOME: home.path });

  assert.equal(code, 0);
  assert.match(
    out,
    new RegExp(
      `pairing requests: test waits \\(not-paired\\).*\\n +cure: ./portreeve devices approve ${String(error.details?.["requestId"])}`,
    ),
  );
});

test("after kill -9 the doctor says who ended, which run was left, and that the next start takes it up", async () => {
  await using gateway = await startGatewayProcess();
  const env = bareEnv(gateway.home);
  const running = await doctor(env);
  const call = runCli(
    ["call", "chat.send", JSON.stringify({ sessionKey: "main", message: script("x", { hang: true }), idempotencyKey: "k" })],
    env,
  );
  assert.equal((await call).code, 0);
  const status = async (): Promise<string> => (await runCli(["sessions", "list", "--json"], env)).out;
  while (!(await status()).includes('"running"')) await new Promise(setImmediate);
  await gateway.kill();
  tamper(gateway.stateDir, "update runs set lease_until_ms = 1");

  const { outcome, problems } = await doctor(env);

  assert.deepEqual([running.problems, problems], [[], []]);
  assert.match(outcome.out, new RegExp(`process ${gateway.pid} ended without saying so`));
  assert.match(outcome.out, /run run_[0-9a-f]+ of agent:main:main is running and no worker holds it; the next start takes it up/);
});

test("a configuration that is named must be there, for the doctor and for the start; the home's own may be missing", async () => {
  await using home = await openStoppedHome();
  const missing = join(home.path, "missing.json5");
  await rm(join(home.path, "config.json5"));

  const outcomes = [
    await runCli(["doctor", "--config", missing], home.env),
    await runCli(["gateway", "run", "--config", missing, "--port", "0"], home.env),
  ];
  const own = await doctor(home.env);

  for (const { code, err } of outcomes) {
    assert.equal(code, 2, err);
    assert.match(err, /no configuration file .*missing\.json5[^]*--config/);
  }
  assert.deepEqual(own.problems, []);
});

test("no secret is printed, whatever is wrong", async () => {
  await using home = await openStoppedHome();
  const secrets = ["s3cret-in-config", "sk-provider-key-of-mine", await readFile(join(home.state, "secret"), "utf8")];
  const providers = { openai: { api: "openai", apiKey: `${secrets[1]} with a space` } };
  const config = { gateway: { auth: { token: secrets[0] }, bogus: 1 }, models: { providers }, agents: { defaults: { model: "openai/x" } } };

  const printed: string[] = [];
  for (const gateway of [config.gateway, { auth: config.gateway.auth }]) {
    await writeFile(join(home.path, "config.json5"), JSON.stringify({ ...config, gateway }));
    for (const args of [["doctor"], ["doctor", "--json"]]) {
      const { out, err } = await runCli(args, { ...home.env, PORTREEVE_TOKEN: "s3cret-in-env" });
      printed.push(out, err);
    }
  }

  assert.match(printed.join(""), /cannot be sent/);
  for (const secret of [...secrets, "s3cret-in-env"]) assert.equal(printed.join("").includes(secret.trim()), false);
});
