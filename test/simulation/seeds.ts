/** Plays many seeds: a thread for each core, every thread its own share. */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { FaultyDatabase } from "./faulty-database.ts";
import { simulate } from "./simulate.ts";

export interface Played {
  readonly seeds: number;
  /** How often each kind of action was taken. */
  readonly taken: ReadonlyMap<string, number>;
  /** The first failure; the other threads stop when they learn of it, with one of their own at most. */
  readonly failures: readonly string[];
}

interface Share {
  readonly firstSeed: number;
  readonly step: number;
  readonly count: number;
  /** Not 0: somebody has failed. */
  readonly stop: Int32Array;
}

export async function playSeeds(firstSeed: number, count: number): Promise<Played> {
  const threads = Math.min(availableParallelism(), count);
  const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const shares = Array.from({ length: threads }, (_, thread) => {
    const seeds = Math.ceil((count - thread) / threads);
    return playInThread({ firstSeed: firstSeed + thread, step: threads, count: seeds, stop });
  });
  const played = await Promise.all(shares);
  const taken = new Map<string, number>();
  for (const [name, times] of played.flatMap((one) => [...one.taken])) taken.set(name, (taken.get(name) ?? 0) + times);
  const seeds = played.reduce((sum, one) => sum + one.seeds, 0);
  return { seeds, taken, failures: played.flatMap((one) => one.failures) };
}

function playInThread(share: Share): Promise<Played> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url), { workerData: share });
    thread.once("message", resolve);
    thread.once("error", reject);
    thread.once("exit", (code) => reject(new Error(`the thread ended with ${code} and said nothing`)));
  });
}

async function play({ firstSeed, step, count, stop }: Share): Promise<Played> {
  const database = await FaultyDatabase.open();
  const taken = new Map<string, number>();
  const failures: string[] = [];
  let seeds = 0;
  while (seeds < count && Atomics.load(stop, 0) === 0) {
    try {
      const simulated = await simulate(firstSeed + seeds * step, database);
      for (const [name, times] of simulated.taken) taken.set(name, (taken.get(name) ?? 0) + times);
    } catch (error) {
      Atomics.store(stop, 0, 1);
      failures.push(error instanceof Error ? error.message : String(error));
    }
    seeds += 1;
  }
  return { seeds, taken, failures };
}

if (!isMainThread) parentPort?.postMessage(await play(workerData as Share));
