/**
 * Accepting sub-agents while 50 runs stream, and how soon each child asks its model. Children stay until all are accepted. Beside
 * them what bounds them: before, the floor, the same requests to a server that does nothing but write each into one row; and in the
 * same place, with the same runs streaming, a method that reads one row and writes nothing.
 */
import { mkdtempDisposableSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toMessage } from "../model-server.ts";
import type { Bench, Case } from "../case.ts";
import { atMost, type Measure, nowMs, percentile, repeat } from "../measure.ts";
import { benchEnv, startServer } from "../processes.ts";
import { Wire } from "../wire.ts";

/** A session may have 100 running children. */
const childrenASession = 100;

/** Until most of the code is compiled, as the turns before those that `turn` counts. */
const warmUp = 500;

export const spawn: Case = {
  name: "spawn",
  about: "accepting sub-agents, 1, 20 and 100 at a time, while 50 runs stream",
  needs: "process",
  methods: ["subagents.spawn", "sessions.list", "agent"],
  async run(bench) {
    const { isQuick, model, start } = bench;
    const [count, crowds] = isQuick ? [3, [1, 3]] : [200, [1, 20, 100]];
    const measures = [...(await timeFloor(count, crowds))];
    await using target = await start();
    using wire = await target.open();
    using watcher = await target.open();
    const streams = Array.from({ length: isQuick ? 2 : 50 }, (_, index) => {
      const message = toMessage({ tag: `background-${index}`, words: 1_000_000, gapMs: 30 });
      return watcher.agent(`bench-background-${index}`, message);
    });
    try {
      if (!isQuick) await spawnMany(bench, wire, { name: "warm", count: warmUp, atOnce: 20 });
      for (const atOnce of crowds) {
        const reads = await timeAnswers(5 * count, atOnce, () => wire.request("sessions.list", { limit: 1 }));
        measures.push(...toMeasures(`one row read, ${atOnce} at a time`, reads));
        measures.push(...(await spawnMany(bench, wire, { name: `spawn-${atOnce}`, count, atOnce })));
      }
    } finally {
      await repeat(streams.length, streams.length, (index) => wire.request("chat.abort", { sessionKey: `bench-background-${index}` }));
      await Promise.all(streams);
      model.forget();
    }
    return measures;
  },
};

/** What a server costs that answers with nothing but one durable row a request, and has nothing else to do. */
async function timeFloor(count: number, crowds: readonly number[]): Promise<readonly Measure[]> {
  using home = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-"));
  const args = [join(import.meta.dirname, "../bare-store.ts"), join(home.path, "rows.db")];
  await using server = await startServer(process.execPath, args, benchEnv(home.path));
  using wire = await Wire.open({ url: server.url });
  const ask = (): Promise<unknown> => wire.spawn("floor", toMessage({ tag: "floor", hold: "floor" }));
  await timeAnswers(warmUp, 20, ask);
  const measures: Measure[] = [];
  for (const atOnce of crowds) measures.push(...toMeasures(`the floor, ${atOnce} at a time`, await timeAnswers(count, atOnce, ask)));
  return measures;
}

/** How long each of `count` requests waited for its answer, in milliseconds. */
async function timeAnswers(count: number, atOnce: number, ask: () => Promise<unknown>): Promise<readonly number[]> {
  const times: number[] = [];
  await repeat(count, atOnce, async () => {
    const askedAt = nowMs();
    await ask();
    times.push(nowMs() - askedAt);
  });
  return times;
}

function toMeasures(name: string, times: readonly number[]): readonly Measure[] {
  return [
    { name: `${name}, p50`, value: percentile(times, 0.5), unit: "ms" },
    { name: `${name}, p99`, value: percentile(times, 0.99), unit: "ms" },
  ];
}

async function spawnMany(
  { model }: Bench,
  wire: Wire,
  { name, count, atOnce }: { name: string; count: number; atOnce: number },
): Promise<readonly Measure[]> {
  const accepts: number[] = [];
  const starts: Promise<number>[] = [];
  await repeat(count, atOnce, async (index) => {
    const tag = `${name}-${index}`;
    const askedAt = nowMs();
    const acceptedAt = await wire.spawn(sessionOf(name, index), toMessage({ tag, hold: name }));
    accepts.push(acceptedAt - askedAt);
    starts.push(model.arrival(tag).then((arrivedAt) => arrivedAt - acceptedAt));
  });
  const startDelays = await Promise.all(starts);
  model.release(name);
  await Promise.all(Array.from({ length: count }, (_, index) => model.arrival(`after:${name}-${index}`)));
  return [
    { name: `accept, ${atOnce} at a time, p50`, value: percentile(accepts, 0.5), unit: "ms", ...atMost(2) },
    { name: `accept, ${atOnce} at a time, p99`, value: percentile(accepts, 0.99), unit: "ms", ...atMost(10) },
    ...toMeasures(`accepted to the child's model call, ${atOnce} at a time`, startDelays),
  ];
}

function sessionOf(name: string, index: number): string {
  return `bench-${name}-${Math.floor(index / childrenASession)}`;
}
