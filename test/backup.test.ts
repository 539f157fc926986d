/** Backups of real gateways: taken while they work, damaged in every way, and put back. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFile, cp, lstat, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { parseSetupCode } from "@portreeve/protocol";
import { findHome } from "../packages/gateway/src/kit/home.ts";
import { runGateway, type RunningGateway } from "../packages/gateway/src/main.ts";
import type { Manifest, Restored } from "../packages/gateway/src/backup/backup.ts";
import { type CliOutcome, openHome, runCli } from "./support/cli.ts";
import { callTools, type ChatBody, type FakeReply, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { startGatewayProcess } from "./support/gateway-process.ts";
import { tamper } from "./support/stored-pairing.ts";
import { connectWire, createWireKey, refusedConnect, type WireKey } from "./support/wire-client.ts";

interface Place extends AsyncDisposable {
  readonly path: string;
  /** A command on this home. */
  cli(...args: readonly string[]): Promise<CliOutcome>;
  start(): Promise<RunningGateway>;
}

/** A home where nothing is yet, and no gateway. */
async function openPlace(): Promise<Place> {
  const path = await mkdtemp(join(tmpdir(), "portreeve-restore-"));
  const env = { PORTREEVE_HOME: path };
  const { configFile, stateDir, workspaceDir } = findHome(env);
  return {
    path,
    cli: (...args) => runCli(args, env),
    start: () => runGateway({ configFile, stateDir, workspaceDir, port: 0, env: { PORTREEVE_CHECK_RESULTS: "1" }, logLevel: "silent" }),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

function ok(outcome: CliOutcome): CliOutcome {
  assert.equal(outcome.code, 0, outcome.err);
  return outcome;
}

function refusalOf(outcome: CliOutcome): { readonly code: string; readonly message: string } {
  assert.equal(outcome.code, 1, outcome.out);
  return (JSON.parse(outcome.err) as { error: { code: string; message: string } }).error;
}

async function secretOf(place: { readonly path: string }): Promise<string> {
  return (await readFile(join(place.path, "state/secret"), "utf8")).trim();
}

/** A used home, stopped, and a backup of it. */
async function openBackup(): Promise<Place & { readonly backup: string }> {
  const place = await openPlace();
  await using _gateway = await place.start();
  ok(await place.cli("agent", "hello"));
  const backup = join(place.path, "backup");
  ok(await place.cli("backup", backup));
  return { ...place, backup };
}

test("the drill: a gateway at work is backed up, killed and restored elsewhere, its runs go on and everything verifies", async () => {
  const release = Promise.withResolvers<void>();
  const childAsked = Promise.withResolvers<void>();
  const lastOf = (body: ChatBody): string => String(body.messages?.at(-1)?.content ?? "");
  const handler = ({ body }: { readonly body: ChatBody }): FakeReply => {
    if (lastOf(body) === "CHILD") {
      childAsked.resolve();
      return { steps: [{ hold: release.promise }, { text: "the result" }, { finish: "stop" }] };
    }
    if (/<subagent_result /.test(lastOf(body))) return say("summed up");
    if (lastOf(body) === "delegate") return callTools({ id: "c1", name: "sessions_spawn", args: { task: "CHILD" } });
    return body.messages?.at(-1)?.role === "tool" ? callTools({ id: "y", name: "sessions_yield", args: {} }) : say("more");
  };
  await using provider = await startFakeOpenAi({ handler });
  const models = { providers: { fake: { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: "none" } } };
  await using gateway = await startGatewayProcess({ config: { models, agents: { defaults: { model: "fake/test" } } } });
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.write"] });
  await wire.request("agent", { message: "delegate", idempotencyKey: "k1" });
  await childAsked.promise;
  await using place = await openPlace();
  const backup = join(place.path, "backup");

  const taken = ok(await runCli(["backup", backup, "--json"], { PORTREEVE_HOME: gateway.home }));
  await wire.request("agent", { message: "after the backup", sessionKey: "agent:main:later", idempotencyKey: "k2" });
  await wire.request("agent.wait", { runId: "k2" });
  await gateway.kill();
  ok(await place.cli("restore", backup));
  await using restored = await place.start();
  release.resolve();
  await using after = await connectWire(restored.url, { token: await secretOf(place), scopes: ["operator.write"] });
  const waited = await after.request("agent.wait", { runId: "k1" });
  const later = await after.request("agent.wait", { runId: "k2", timeoutMs: 0 });
  const status = await after.request("status");
  const verified = await place.cli("audit", "verify", "--state", join(place.path, "state"));
  const doctor = await place.cli("doctor", "--json");

  const { sessions, runs } = (JSON.parse(taken.out) as { manifest: Manifest }).manifest.counts;
  assert.deepEqual([sessions, runs], [2, 2]);
  assert.equal(waited.payload?.["status"], "ok");
  assert.notEqual(later.payload?.["status"], "ok");
  assert.deepEqual(status.payload?.["children"], { accepted: 1, completed: 1, announced: 1, undelivered: 0 });
  assert.equal(verified.code, 0, verified.err);
  assert.equal(doctor.code, 0, doctor.out);
});

test("a backup holds what makes the gateway the same one, for its owner alone, and nothing that derives device tokens", async () => {
  await using place = await openBackup();
  const names = (await readdir(place.backup)).toSorted();
  const modes = await Promise.all(names.map(async (name) => (await stat(join(place.backup, name))).mode & 0o777));
  const manifest = JSON.parse(await readFile(join(place.backup, "manifest.json"), "utf8")) as Manifest;
  const again = await place.cli("backup", place.backup, "--json");

  assert.deepEqual(names, ["gateway-key.pem", "manifest.json", "portreeve.db", "secret"]);
  assert.deepEqual(new Set(modes), new Set([0o600]));
  assert.equal((await stat(place.backup)).mode & 0o777, 0o700);
  for (const { name, sha256 } of manifest.files)
    assert.equal(
      createHash("sha256")
        .update(await readFile(join(place.backup, name)))
        .digest("hex"),
      sha256,
    );
  assert.equal(refusalOf(again).code, "BACKUP_EXISTS");
  assert.deepEqual(
    (await readdir(place.path)).filter((name) => name.endsWith(".tmp")),
    [],
  );
});

test("no device token of before the restore opens anything after it, whatever became of it since the backup", async () => {
  await using place = await openPlace();
  const backup = join(place.path, "backup");
  const key = createWireKey();
  const scopes = ["operator.read", "operator.admin"];
  const tokens: string[] = [];
  {
    await using gateway = await place.start();
    await using wire = await connectWire(gateway.url, { key, scopes, token: await secretOf(place) });
    tokens.push(tokenOf(wire.hello));
    ok(await place.cli("backup", backup));
    await using admin = await connectWire(gateway.url, { scopes: ["operator.admin"], token: await secretOf(place) });
    // The generation that a restore would reach which merely counted on.
    const rotated = await admin.request("device.token.rotate", { deviceId: key.id, role: "operator" });
    tokens.push(String(rotated.payload?.["token"]));
    await admin.request("device.token.revoke", { deviceId: key.id, role: "operator" });
  }
  await using elsewhere = await openPlace();
  ok(await elsewhere.cli("restore", backup));
  await using gateway = await elsewhere.start();

  const refused = [];
  for (const deviceToken of tokens) refused.push((await refusedConnect(gateway.url, { key, scopes, deviceToken })).error.details?.["code"]);
  await using back = await connectWire(gateway.url, { key, scopes, token: await secretOf(elsewhere) });

  assert.equal(new Set(tokens).size, 2);
  assert.deepEqual(new Set(refused), new Set(["AUTH_DEVICE_TOKEN_MISMATCH"]));
  assert.ok(!tokens.includes(tokenOf(back.hello)));
});

test("restored over the state that knows better, what was removed, revoked or replaced since the backup stays so", async () => {
  await using place = await openPlace();
  const backup = join(place.path, "backup");
  const [removed, revoked, kept] = [createWireKey(), createWireKey(), createWireKey()];
  const scopes = ["operator.read"];
  {
    await using gateway = await place.start();
    const token = await secretOf(place);
    for (const key of [removed, revoked, kept]) await pairAs(gateway.url, key, token);
    ok(await place.cli("backup", backup));
    await using admin = await connectWire(gateway.url, { scopes: ["operator.admin"], token });
    await admin.request("device.pair.remove", { deviceId: removed.id });
    await admin.request("device.token.revoke", { deviceId: revoked.id, role: "operator" });
  }
  await writeFile(join(place.path, "state/secret"), "a-newer-secret-that-was-chosen-for-a-reason\n");

  const unforced = await place.cli("restore", backup, "--json");
  const outcome = ok(await place.cli("restore", backup, "--force", "--json"));
  const said = JSON.parse(outcome.out) as Restored;
  await using gateway = await place.start();
  const token = "a-newer-secret-that-was-chosen-for-a-reason";
  const lost = [];
  for (const key of [removed, revoked]) lost.push((await refusedConnect(gateway.url, { key, scopes, token })).error.details?.["code"]);
  await using _kept = await connectWire(gateway.url, { key: kept, scopes, token });

  assert.equal(refusalOf(unforced).code, "STATE_NOT_EMPTY");
  assert.deepEqual([said.secret, said.since, said.ended.removedDevices, said.ended.revokedGrants], ["kept", "known", [removed.id], 1]);
  assert.deepEqual(lost, ["PAIRING_REQUIRED", "PAIRING_REQUIRED"]);
  assert.ok((await readdir(said.aside ?? "")).includes("portreeve.db"));
});

test("a device that was let in for less since the backup gets nothing back by a restore, nor do its jobs, and that is said", async () => {
  await using place = await openPlace();
  const [backup, key] = [join(place.path, "backup"), createWireKey()];
  let jobId = "";
  {
    await using gateway = await place.start();
    const token = await secretOf(place);
    {
      await using wire = await connectWire(gateway.url, { key, scopes: ["operator.admin"], token });
      jobId = String((await wire.request("cron.add", nightly)).payload?.["id"]);
      await wire.request("device.pair.setupCode", { scopes: ["operator.admin"] });
    }
    ok(await place.cli("backup", backup));
    await using admin = await connectWire(gateway.url, { scopes: ["operator.admin"], token });
    await admin.request("device.pair.remove", { deviceId: key.id });
    const { payload } = await admin.request("device.pair.setupCode", { scopes: ["operator.read"] });
    const { bootstrapToken } = parseSetupCode(String(payload?.["setupCode"])) ?? assert.fail("it is no setup code");
    await using _again = await connectWire(gateway.url, { key, bootstrapToken, scopes: ["operator.read"] });
  }

  const outcome = ok(await place.cli("restore", backup, "--force"));
  using db = new DatabaseSync(join(place.path, "state/portreeve.db"), { readOnly: true });
  const grants = db.prepare("select role, scopes, revoked_at_ms from device_grants where device_id = ?").all(key.id);
  const [job] = db.prepare("select enabled, next_run_at_ms, disabled_reason from cron_jobs where job_id = ?").all(jobId);

  assert.deepEqual(
    grants.map((row) => ({ ...row })),
    [{ role: "operator", scopes: '["operator.read"]', revoked_at_ms: null }],
  );
  assert.deepEqual([job?.["enabled"], job?.["next_run_at_ms"]], [0, null]);
  assert.match(String(job?.["disabled_reason"]), /holds less/);
  assert.equal(db.prepare("select count(*) as n from setup_codes where used_at_ms is null").get()?.["n"], 0);
  assert.match(outcome.out, new RegExp(`Narrowed +${key.id} as operator to operator.read`));
  assert.match(outcome.out, /1 narrowed after the backup[\s\S]*Jobs +1 disabled/);
});

test("a job that was disabled for its device since the backup stays so, though the device is paired again for as much", async () => {
  await using place = await openPlace();
  const [backup, key] = [join(place.path, "backup"), createWireKey()];
  {
    await using gateway = await place.start();
    const token = await secretOf(place);
    {
      await using wire = await connectWire(gateway.url, { key, scopes: ["operator.admin"], token });
      await wire.request("cron.add", nightly);
    }
    ok(await place.cli("backup", backup));
    await using admin = await connectWire(gateway.url, { scopes: ["operator.admin"], token });
    await admin.request("device.pair.remove", { deviceId: key.id });
    const { payload } = await admin.request("device.pair.setupCode", { scopes: ["operator.admin"] });
    const { bootstrapToken } = parseSetupCode(String(payload?.["setupCode"])) ?? assert.fail("it is no setup code");
    await using _again = await connectWire(gateway.url, { key, bootstrapToken, scopes: ["operator.admin"] });
  }

  const { ended } = JSON.parse(ok(await place.cli("restore", backup, "--force", "--json")).out) as Restored;
  using db = new DatabaseSync(join(place.path, "state/portreeve.db"), { readOnly: true });

  assert.deepEqual([ended.removedDevices, ended.revokedGrants, ended.narrowedGrants, ended.disabledJobs], [[], 0, [], 1]);
  assert.equal(db.prepare("select count(*) as n from cron_jobs where enabled = 1").get()?.["n"], 0);
});

test("what could be used once is not there to be used again", async () => {
  await using place = await openPlace();
  const backup = join(place.path, "backup");
  const asking = createWireKey();
  {
    await using gateway = await place.start();
    const token = await secretOf(place);
    await using admin = await connectWire(gateway.url, { scopes: ["operator.admin"], token });
    await admin.request("device.pair.setupCode", {});
    // Not new on this machine once refused: so it waits.
    await pairAs(gateway.url, asking, token);
    await admin.request("device.pair.remove", { deviceId: asking.id });
    await refusedConnect(gateway.url, { key: asking, scopes: ["operator.read"], token });
    ok(await place.cli("backup", backup));
  }
  await using elsewhere = await openPlace();
  const { ended } = JSON.parse(ok(await elsewhere.cli("restore", backup, "--json")).out) as Restored;
  await using _gateway = await elsewhere.start();
  const { pending } = JSON.parse(ok(await elsewhere.cli("devices", "--json")).out) as { pending: readonly unknown[] };

  assert.deepEqual([ended.setupCodes, ended.pairingRequests, pending], [1, 1, []]);
  using db = new DatabaseSync(join(elsewhere.path, "state/portreeve.db"), { readOnly: true });
  assert.deepEqual(db.prepare("select count(*) as n from setup_codes").get()?.["n"], 0);
  assert.equal(db.prepare("select kind from audit where kind = 'state.restored'").all().length, 1);
});

test("what a sub-agent was handed comes back with it, for its owner alone; changed or in a place of its own choosing it is refused", async () => {
  await using home = await openHome({ agents: { defaults: { subagents: { attachments: { enabled: true } } } } });
  await using target = await openPlace();
  const [backup, forged] = [join(target.path, "backup"), join(target.path, "forged")];
  const ask = { task: "read it", attachments: [{ name: "notes.md", content: "the notes" }], idempotencyKey: "k1" };
  ok(await home.cli(["call", "subagents.spawn", JSON.stringify(ask)]));
  ok(await home.cli(["backup", backup]));

  const [folder = ""] = await readdir(join(backup, "attachments"));
  const file = join(backup, "attachments", folder, "notes.md");
  await cp(backup, forged, { recursive: true });
  const manifest = await readFile(join(forged, "manifest.json"), "utf8");
  await writeFile(join(forged, "manifest.json"), manifest.replace(`${folder}/notes.md`, `${folder}/../notes.md`));
  const elsewhere = refusalOf(await target.cli("restore", forged, "--json"));
  ok(await target.cli("restore", backup));
  await writeFile(file, "other notes");
  const changed = refusalOf(await target.cli("restore", backup, "--force", "--json"));

  const restored = join(target.path, "state/attachments", folder);
  assert.equal(await readFile(join(restored, "notes.md"), "utf8"), "the notes");
  const modes = await Promise.all([restored, join(restored, "notes.md")].map(async (path) => (await stat(path)).mode & 0o777));
  assert.deepEqual(modes, [0o700, 0o600]);
  assert.deepEqual([elsewhere.code, changed.code], ["BACKUP_DAMAGED", "BACKUP_DAMAGED"]);
  assert.match(elsewhere.message, /manifest\.json is not what a backup says of itself/);
  assert.match(changed.message, new RegExp(`attachments/${folder}/notes.md has 11 bytes`));
});

test("no state is replaced under a gateway that runs, not even by force", async () => {
  await using home = await openHome();
  await using place = await openBackup();

  const refused = await home.cli(["restore", place.backup, "--force", "--json"]);
  const health = await home.cli(["health"]);

  assert.equal(refusalOf(refused).code, "STATE_IN_USE");
  assert.equal(health.code, 0);
});

/** The database is changed, and the manifest made to agree: what remains is what the database says of itself. */
async function forge(backup: string, change: string): Promise<void> {
  tamper(backup, change);
  const file = join(backup, "manifest.json");
  const manifest = JSON.parse(await readFile(file, "utf8")) as Manifest;
  const bytes = await readFile(join(backup, "portreeve.db"));
  const facts = { name: "portreeve.db", bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  await writeFile(file, JSON.stringify({ ...manifest, files: manifest.files.map((one) => (one.name === facts.name ? facts : one)) }));
}

const damages: Readonly<Record<string, readonly [(backup: string) => Promise<void>, code: string, says: RegExp]>> = {
  "a folder that is none": [(backup) => rm(join(backup, "manifest.json")), "BACKUP_NOT_FOUND", /no manifest\.json/],
  "a manifest that says nothing": [(backup) => writeFile(join(backup, "manifest.json"), "{}"), "BACKUP_DAMAGED", /manifest\.json/],
  "a manifest that names a path": [
    async (backup) => {
      const text = await readFile(join(backup, "manifest.json"), "utf8");
      await writeFile(join(backup, "manifest.json"), text.replace('"secret"', '"../secret"'));
    },
    "BACKUP_DAMAGED",
    /manifest\.json/,
  ],
  "a newer format": [
    async (backup) => {
      const text = await readFile(join(backup, "manifest.json"), "utf8");
      await writeFile(join(backup, "manifest.json"), text.replace('"format": 1', '"format": 2'));
    },
    "BACKUP_NEWER",
    /newer version/,
  ],
  "a file that is gone": [(backup) => rm(join(backup, "secret")), "BACKUP_DAMAGED", /secret is missing/],
  "a file that was added to": [(backup) => appendFile(join(backup, "secret"), "x"), "BACKUP_DAMAGED", /secret has \d+ bytes/],
  "a file with a changed byte": [
    async (backup) => {
      const file = join(backup, "portreeve.db");
      const bytes = await readFile(file);
      bytes.writeUInt8(bytes.readUInt8(5_000) ^ 1, 5_000);
      await writeFile(file, bytes);
    },
    "BACKUP_DAMAGED",
    /portreeve\.db was changed/,
  ],
  "an audit row rewritten, with a manifest that agrees": [
    (backup) => forge(backup, "update audit set actor = 'device:me' where seq = 1"),
    "BACKUP_DAMAGED",
    /audit: the chain breaks at row 1/,
  ],
  "a trigger that would grant": [
    (backup) => forge(backup, "create trigger t after insert on runs begin update device_grants set scopes = '[\"operator.admin\"]'; end"),
    "BACKUP_DAMAGED",
    /schema is not this version's: trigger t/,
  ],
  "a schema of the future": [
    (backup) => forge(backup, "insert into kysely_migration values ('999-future', '2999-01-01')"),
    "BACKUP_NEWER",
    /newer version.*999-future/,
  ],
  "an open run without a session": [
    (backup) => forge(backup, "update runs set status = 'waiting', session_key = 'agent:main:gone'"),
    "BACKUP_DAMAGED",
    /has not ended and its session is gone/,
  ],
  "an open run whose journal does not fold": [
    (backup) => forge(backup, "update runs set status = 'waiting'"),
    "BACKUP_DAMAGED",
    /cannot follow/,
  ],
};

for (const [what, [harm, code, says]] of Object.entries(damages)) {
  test(`${what} is refused and named, and nothing is put anywhere`, async () => {
    await using place = await openBackup();
    if (what === "an open run whose journal does not fold")
      await forge(place.backup, 'update journal set entry = \'{"kind":"parked","on":"children","eventSeq":0}\' where seq = 2');
    await using target = await openPlace();
    await harm(place.backup);

    const refusal = refusalOf(await target.cli("restore", place.backup, "--json"));

    assert.equal(refusal.code, code);
    assert.match(refusal.message, says);
    assert.deepEqual(await readdir(target.path), []);
  });
}

test("the configuration comes with a backup, and one that is there stays", async () => {
  await using home = await openHome({ agents: { defaults: { model: "scripted/scripted" } } });
  await using target = await openPlace();
  const backup = join(target.path, "backup");
  ok(await home.cli(["backup", backup]));

  ok(await target.cli("restore", backup));
  const first = await readFile(join(target.path, "config.json5"), "utf8");
  await writeFile(join(target.path, "config.json5"), "{ /* mine */ }");
  const second = JSON.parse(ok(await target.cli("restore", backup, "--force", "--json")).out) as Restored;

  assert.match(first, /scripted\/scripted/);
  assert.equal((await stat(join(target.path, "config.json5"))).mode & 0o077 & 0o022, 0);
  assert.equal(second.config, "kept");
  assert.equal(await readFile(join(target.path, "config.json5"), "utf8"), "{ /* mine */ }");
  assert.ok(!(await readdir(join(target.path, "state"))).includes("config.json5"));
});

test("a configuration that is a link comes with a backup as what it leads to", async () => {
  await using home = await openHome({ agents: { defaults: { model: "scripted/scripted" } } });
  await using target = await openPlace();
  const [config, elsewhere] = [join(home.path, "config.json5"), join(target.path, "elsewhere.json5")];
  await rename(config, elsewhere);
  await symlink(elsewhere, config);

  ok(await home.cli(["backup", join(target.path, "backup")]));
  ok(await target.cli("restore", join(target.path, "backup")));

  const restored = await lstat(join(target.path, "config.json5"));
  assert.deepEqual([restored.isFile(), restored.mode & 0o077], [true, 0]);
  assert.match(await readFile(join(target.path, "config.json5"), "utf8"), /scripted\/scripted/);
});

test("a folder without a gateway's state is not backed up, and says which folder to name", async () => {
  await using place = await openPlace();

  const refusal = refusalOf(await place.cli("backup", join(place.path, "backup"), "--json"));

  assert.equal(refusal.code, "NO_STATE");
  assert.deepEqual(await readdir(place.path), []);
});

const nightly = {
  name: "nightly",
  schedule: { kind: "cron", expr: "0 3 * * *", tz: "UTC" },
  sessionTarget: "isolated",
  wakeMode: "now",
  payload: { kind: "agentTurn", message: "look" },
} as const;

/** Pairs the key as a program on this machine does. */
async function pairAs(url: string, key: WireKey, token: string): Promise<void> {
  await using _wire = await connectWire(url, { key, scopes: ["operator.read"], token });
}

function tokenOf(hello: Record<string, unknown>): string {
  return (hello["auth"] as { deviceToken: string }).deviceToken; // Every paired device is given one.
}
