/** Streaming runs to 50 subscribers: how many events arrive, and how late. */
import { toMessage } from "../model-server.ts";
import type { Bench, Case } from "../case.ts";
import { type Measure, nowMs, percentile } from "../measure.ts";
import type { Target } from "../target.ts";
import { Wire } from "../wire.ts";

const subscribers = 50;
const gapMs = 10;

export const stream: Case = {
  name: "stream",
  about: "streaming runs heard by 50 connections",
  needs: "model",
  methods: ["agent"],
  async run(bench) {
    await using target = await bench.start();
    const one = await measure(bench, target, 1);
    return [...one, ...(await measure(bench, target, bench.isQuick ? 2 : 50))];
  },
};

async function measure({ isQuick }: Bench, target: Target, runs: number): Promise<readonly Measure[]> {
  const words = isQuick ? 20 : 500;
  using wires = await Wire.openMany(target, isQuick ? 3 : subscribers);
  const heard = new Heard(wires);
  const [starter] = wires;
  if (starter === undefined) throw new Error("no subscriber");
  const startedAt = nowMs();
  await Promise.all(
    Array.from({ length: runs }, (_, index) =>
      starter.agent(`bench-stream-${runs}-${index}`, toMessage({ tag: `stream-${runs}-${index}`, words, gapMs })),
    ),
  );
  const seconds = (nowMs() - startedAt) / 1_000;
  const from = `${runs === 1 ? "one run" : `${runs} runs`} to ${wires.length}`;
  return [
    { name: `${from}: events delivered`, value: heard.delays.length / seconds, unit: "/s" },
    { name: `${from}: made to heard, p50 (clock of 1 ms)`, value: percentile(heard.delays, 0.5), unit: "ms" },
    { name: `${from}: made to heard, p99 (clock of 1 ms)`, value: percentile(heard.delays, 0.99), unit: "ms" },
    { name: `${from}: first to last hearer, p99`, value: percentile(heard.spreads(), 0.99), unit: "ms" },
  ];
}

/** Counts the `agent` events: they say when they were made. */
class Heard {
  readonly delays: number[] = [];
  readonly #times = new Map<string, { first: number; last: number }>();

  constructor(wires: readonly Wire[]) {
    for (const wire of wires) {
      wire.onEvent = ({ event, payload }) => {
        if (event !== "agent" || typeof payload["ts"] !== "number") return;
        this.delays.push(Date.now() - payload["ts"]);
        const at = nowMs();
        const times = this.#times.get(`${String(payload["runId"])} ${String(payload["seq"])}`);
        if (times !== undefined) times.last = at;
        else this.#times.set(`${String(payload["runId"])} ${String(payload["seq"])}`, { first: at, last: at });
      };
    }
  }

  spreads(): readonly number[] {
    return [...this.#times.values()].map(({ first, last }) => last - first);
  }
}
