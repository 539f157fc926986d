/** The benchmark with its smallest counts: every case can be carried through. What it measures here means nothing. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempDisposableSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import type { Outcome } from "../bench/run.ts";
import { startGateway } from "./support/start-gateway.ts";

const bench = join(import.meta.dirname, "../bench/run.ts");

async function run(args: readonly string[]): Promise<{ readonly outcomes: ReadonlyMap<string, Outcome>; readonly screen: string }> {
  using folder = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-test-"));
  const file = join(folder.path, "numbers.json");
  const env = { PATH: process.env["PATH"], TMPDIR: folder.path };
  const { stdout } = await promisify(execFile)(process.execPath, [bench, "--quick", "--json", file, ...args], { env });
  const outcomes = JSON.parse(readFileSync(file, "utf8")) as readonly Outcome[];
  return { outcomes: new Map(outcomes.map((one) => [one.name, one])), screen: stdout };
}

test("every case of the benchmark runs and gives numbers, beside the noise of the machine", async () => {
  const { outcomes } = await run([]);

  const cases = [
    "rpc",
    "turn",
    "stream",
    "spawn",
    "announce",
    "children",
    "idle",
    "boot",
    "growth",
    "stop",
    "programs",
    "limits",
    "machine",
  ];
  assert.deepEqual([...outcomes.keys()], cases);
  for (const { name, measures, skipped, failed } of outcomes.values()) {
    assert.deepEqual({ skipped, failed }, { skipped: undefined, failed: undefined }, name);
    assert.ok(measures.length > 0, name);
    for (const measure of measures) assert.equal(typeof measure.value, "number", `${name}: ${measure.name}`);
  }
});

test("a gateway that runs already is measured as far as it can be, and the rest is said", async () => {
  await using gateway = await startGateway();

  const { outcomes, screen } = await run(["--only", "rpc,turn,idle", "--target", gateway.url, "--token", gateway.token]);

  assert.ok((outcomes.get("rpc")?.measures.length ?? 0) > 0);
  assert.match(outcomes.get("turn")?.skipped ?? "", /--model-port/);
  assert.match(outcomes.get("idle")?.skipped ?? "", /starts itself/);
  assert.match(screen, /skipped: needs the benchmark's model: see --model-port/);
});

test("a case that does not exist is refused with those that do", async () => {
  await assert.rejects(run(["--only", "rcp"]), /there is no case "rcp"; there are rpc, turn, stream/);
});
