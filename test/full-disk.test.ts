/** What a full disk and a damaged database are said to be, at every command that meets them, and what to do then. */
import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, readdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import type { Examination } from "../packages/gateway/src/doctor/doctor.ts";
import { runCli } from "./support/cli.ts";
import { runCommandProcess, startGatewayProcess } from "./support/gateway-process.ts";
import { connectWire } from "./support/wire-client.ts";

/** Keys fit into it, and no schema. */
const tinyKiB = 64;

async function openHome() {
  return mkdtempDisposable(join(tmpdir(), "portreeve-full-"));
}

test("a first start on a full disk says so, and the doctor knows that the database holds nothing yet", async () => {
  await using home = await openHome();

  const start = await runCommandProcess(["gateway", "run", "--port", "0"], { home: home.path, fileLimitKiB: tinyKiB });
  const examined = await runCli(["doctor", "--json"], { PORTREEVE_HOME: home.path });

  assert.equal(start.code, 1);
  assert.match(start.err, /the disk is full.*\nFree space on the disk of \S+state \(df -h \S+state\), then: \.\/portreeve gateway run\n$/);
  assert.doesNotMatch(start.err, /rollback/);
  const { ok, findings } = JSON.parse(examined.out) as Examination;
  const [database] = findings.filter(({ check }) => check === "database");
  assert.deepEqual([ok, database?.status, database?.cure], [true, "note", "./portreeve gateway run"]);
});

test("the doctor finds a disk that takes no more, and changes nothing to know it", async () => {
  await using gateway = await startGatewayProcess();
  const before = (await stat(gateway.stateDir)).mtimeMs;

  const { code, out } = await runCommandProcess(["doctor"], { home: gateway.home, fileLimitKiB: 1 });

  assert.equal(code, 1);
  assert.match(out, new RegExp(`PROBLEM  disk: the disk of ${gateway.stateDir} is full[^]*cure: df -h ${gateway.stateDir}`));
  assert.equal((await stat(gateway.stateDir)).mtimeMs, before);
});

test("health says that the state cannot be written, once a write has shown it", async () => {
  await using gateway = await startGatewayProcess();
  await gateway.stop("SIGTERM");
  const { size } = await stat(join(gateway.stateDir, "portreeve.db"));
  await gateway.start({ fileLimitKiB: Math.ceil(size / 1_024) + 100 });
  const env = { PORTREEVE_HOME: gateway.home, PORTREEVE_URL: gateway.url, PORTREEVE_TOKEN: gateway.token };
  const before = await runCli(["health"], env);
  await using wire = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.admin"] });
  const isWritable = async (): Promise<boolean> => (await wire.request("health")).payload?.["store"] === undefined;
  for (let index = 0; index < 400 && (await isWritable()); index += 1)
    await wire.request("sessions.patch", { key: `s${index}`, label: "x".repeat(500) });

  const full = await runCli(["health"], env);

  assert.deepEqual([before.code, full.code], [0, 1]);
  assert.match(before.out, /^ok: /);
  assert.match(full.out, /^answers: /);
  assert.match(full.err, /cannot write its state: the disk .*\n.*\.\/portreeve doctor/);
});

test("a start on a damaged database names the doctor and the way back to a backup", async () => {
  await using home = await openHome();
  const state = join(home.path, "state");
  await mkdir(state, { recursive: true, mode: 0o700 });
  await writeFile(join(state, "portreeve.db"), "this was a database once, and is a letter now".repeat(100), { mode: 0o600 });

  const { code, err } = await runCommandProcess(["gateway", "run", "--port", "0"], { home: home.path });

  assert.equal(code, 1);
  assert.match(err, /portreeve\.db is damaged: file is not a database\n/);
  assert.match(err, /\.\/portreeve doctor.*\.\/portreeve restore FOLDER --force/);
  assert.doesNotMatch(err, /start it again/);
});

const large = `// ${"x".repeat(2_000_000)}\n{}`;

for (const [what, fileLimitKiB] of [
  ["the database", tinyKiB],
  ["a file beside the database", 1_500],
] as const) {
  test(`a backup that the disk has no room for, at ${what}, names the disk, and leaves nothing of itself`, async () => {
    await using gateway = await startGatewayProcess();
    await using other = await openHome();
    await writeFile(join(gateway.home, "config.json5"), large);

    const { code, err } = await runCommandProcess(["backup", join(other.path, "copy")], { home: gateway.home, fileLimitKiB });

    assert.equal(code, 1);
    assert.match(err, new RegExp(`^portreeve: the disk of ${other.path} is full`));
    assert.match(err, new RegExp(`df -h ${other.path}.*\\./portreeve backup FOLDER`));
    assert.deepEqual(await readdir(other.path), []);
  });
}

test("a restore that the disk has no room for names the disk, and leaves the state as it is", async () => {
  await using gateway = await startGatewayProcess();
  await using other = await openHome();
  const backup = join(other.path, "copy");
  await runCommandProcess(["backup", backup], { home: gateway.home });

  const { code, err } = await runCommandProcess(["restore", backup, "--state", join(other.path, "state")], {
    home: gateway.home,
    fileLimitKiB: tinyKiB,
  });

  assert.equal(code, 1);
  assert.match(err, new RegExp(`^portreeve: the disk of ${other.path} is full[^]*df -h ${other.path}.*\\./portreeve restore FOLDER`));
  assert.deepEqual(await readdir(other.path), ["copy"]);
});
