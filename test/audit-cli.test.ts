/** `audit` and `why` on the command line, with a gateway and without. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempDisposable, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { openHome, runCli, type CliHome } from "./support/cli.ts";
import { script, spawnStep } from "./support/script.ts";
import { tamper } from "./support/stored-pairing.ts";

/** A home in which the CLI paired itself and ran an agent that had a child. */
async function openUsedHome(): Promise<CliHome> {
  const home = await openHome();
  const message = script("go", { call: [spawnStep("a", { say: "x" })] }, { awaitChildren: true }, { say: "ok" });
  assert.equal((await home.cli(["agent", message])).code, 0);
  return home;
}

const lines = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("an export's hashes can be computed again from its lines, and verify names the last of them", async () => {
  await using home = await openUsedHome();

  const exported = lines((await home.cli(["audit", "export"])).out);
  const verified = await home.cli(["audit", "verify"]);

  let previous = "0".repeat(64);
  for (const { seq, atMs, kind, actor, subject, facts, hash } of exported) {
    previous = createHash("sha256")
      .update(JSON.stringify([seq, atMs, kind, actor, subject, facts, previous]))
      .digest("hex");
    assert.equal(hash, previous);
  }
  assert.deepEqual(
    exported.map(({ seq, kind }) => [seq, kind]),
    [
      [1, "device.paired"],
      [2, "run.spawned"],
    ],
  );
  assert.equal(verified.out, `The audit holds: 2 rows. Its head is row 2, ${previous}\n`);
  assert.equal(verified.code, 0);
});

test("a state folder is verified and exported with its gateway up, with it down, and nothing is left in it", async () => {
  await using home = await openUsedHome();
  const state = join(home.path, "state");
  const offline = (): Promise<{ code: number; out: string }> => runCli(["audit", "verify", "--state", state, "--json"], {});
  const online = (await home.cli(["audit", "export"])).out;

  const up = await offline();
  const exportedUp = (await runCli(["audit", "export", "--state", state], {})).out;
  await home.gateway[Symbol.asyncDispose]();
  const files = await readdir(state);
  const down = await offline();
  const exportedDown = (await runCli(["audit", "export", "--state", state], {})).out;

  assert.deepEqual([up.code, down.code], [0, 0]);
  assert.equal(up.out, down.out);
  assert.deepEqual([exportedUp, exportedDown], [online, online]);
  assert.deepEqual(await readdir(state), files);
});

test("a broken chain is exit code 1 and names the row, with the gateway and without", async () => {
  await using home = await openUsedHome();
  const state = join(home.path, "state");
  tamper(state, "update audit set facts = replace(facts, 'operator.write', 'operator.admin') where seq = 2");

  const [online, offline] = [await home.cli(["audit", "verify"]), await runCli(["audit", "verify", "--state", state], {})];
  const asJson = await home.cli(["audit", "verify", "--json"]);

  assert.deepEqual([online.code, offline.code, asJson.code], [1, 1, 1]);
  assert.match(online.err, /row 2 is the first that is broken, it was changed after it was written\.\nKeep a copy/);
  assert.equal(offline.err, online.err);
  assert.deepEqual(lines(asJson.out)[0]?.["firstBreak"], { seq: 2, reason: "changed-row" });
  assert.match(asJson.err, /AUDIT_BROKEN/);
});

test("why says the same of a state folder whose gateway is down, and leaves nothing in it", async () => {
  await using home = await openUsedHome();
  const state = join(home.path, "state");
  const [row] = lines((await home.cli(["audit", "list", "--limit", "1", "--json"])).out).map(
    ({ rows }) => (rows as { subject: string }[])[0],
  );
  const online = await home.cli(["why", row?.subject ?? ""]);
  await home.gateway[Symbol.asyncDispose]();
  const files = await readdir(state);

  const offline = await runCli(["why", row?.subject ?? "", "--state", state], {});
  const unknown = await runCli(["why", "nothing", "--state", state], {});

  assert.match(offline.out, /^run\.spawned .*because device\.paired/s);
  assert.equal(offline.out, online.out);
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /nothing is stored under "nothing"\nGive the whole id/);
  assert.deepEqual(await readdir(state), files);
});

test("an id is known by its beginning, a run's by its end too, as the tables show them; several that fit are named", async () => {
  await using home = await openUsedHome();
  const state = join(home.path, "state");
  const { rows } = JSON.parse((await home.cli(["audit", "list", "--json"])).out) as { rows: { subject: string }[] };
  const [run = "", device = ""] = rows.map(({ subject }) => subject);
  const shown = /^[0-9a-f]{8}(?=  )/m;
  const [shortDevice = ""] = shown.exec((await home.cli(["devices"])).out) ?? [];
  const [shortRun = ""] = shown.exec((await home.cli(["runs", "list"])).out) ?? [];

  const whole = await home.cli(["why", device]);
  const short = await home.cli(["why", shortDevice]);
  const principal = await home.cli(["why", `device:${shortDevice}`]);
  const offline = await runCli(["why", shortDevice, "--state", state], {});
  const byEnd = await home.cli(["why", shortRun]);
  const list = await home.cli(["audit", "list", "--subject", shortDevice]);
  const several = [await home.cli(["why", "run_"]), await runCli(["why", "run_", "--state", state], {})];
  const severalRows = await home.cli(["audit", "list", "--subject", "run_"]);
  const shownByBeginning = await home.cli(["runs", "show", run.slice(0, -1)]);

  assert.deepEqual([short.out, principal.out, offline.out], [whole.out, whole.out, whole.out], short.err);
  assert.match(byEnd.out, /^run\./);
  assert.match(list.out, /device\.paired/);
  for (const { code, err } of [...several, severalRows]) {
    assert.equal(code, 1);
    assert.match(err, /2 ids fit "run_": run_[0-9a-f]+, run_[0-9a-f]+\nGive more of the id/);
  }
  assert.match(shownByBeginning.out, new RegExp(`^Run ${run}`));
});

test("why a run tells what it was refused itself, and nothing that its device was refused, or that happened to it, later", async () => {
  await using home = await openUsedHome();
  const { runs } = JSON.parse((await home.cli(["runs", "list", "--json"])).out) as { runs: { runId: string }[] };
  const run = runs.at(-1)?.runId ?? "";
  const { paired } = JSON.parse((await home.cli(["devices", "--json"])).out) as { paired: { deviceId: string }[] };
  const device = paired[0]?.deviceId ?? "";
  await home.cli(["call", "status", "--scopes", ""]);
  await home.cli(["devices", "rotate", device]);

  const ofRun = await home.cli(["why", run]);
  const ofDevice = await home.cli(["why", device]);

  assert.match(ofDevice.out, /because device\.token-rotated[^]*\nand MISSING_SCOPE/);
  assert.doesNotMatch(ofRun.out, /MISSING_SCOPE|device\.token-rotated/);
});

test("a folder without a database is refused with what to name", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-none-"));

  const { code, err } = await runCli(["audit", "verify", "--state", folder.path], {});

  assert.equal(code, 1);
  assert.match(err, /holds no database of a gateway\.\nName the state folder itself/);
});

test("the list is a table, and why tells a run's causes one by one", async () => {
  await using home = await openUsedHome();

  const list = await home.cli(["audit", "list", "--kind", "run.spawned"]);
  const [row] = lines((await home.cli(["audit", "list", "--limit", "1", "--json"])).out).map(
    ({ rows }) => (rows as { subject: string }[])[0],
  );
  const why = await home.cli(["why", row?.subject ?? ""]);
  const unknown = await home.cli(["why", "nothing"]);

  assert.match(list.out, /^ROW +TIME +KIND +BY +ABOUT +FACTS\n2 +\S+ \S+ +run\.spawned +run:run_/);
  assert.match(
    why.out,
    /^run\.spawned .*\n {2}the run in agent:main:subagent:.*\nbecause run\.started .*\n.*\nbecause device\.paired .*silently/s,
  );
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /nothing is stored under "nothing"\nGive the whole id/);
});
