/** Requests a second beside a bare echo server, in turns, so that a slow minute of the machine hits both. */
import type { Case } from "../case.ts";
import { atLeast, type Measure, median } from "../measure.ts";
import { Wire } from "../wire.ts";

interface Call {
  readonly name: string;
  readonly method: string;
  readonly params: object;
  /** Percent of the ceiling. */
  readonly aim: number;
}

const calls: readonly Call[] = [
  { name: "without the store (agents.list)", method: "agents.list", params: {}, aim: 60 },
  { name: "one row (sessions.list)", method: "sessions.list", params: { limit: 1 }, aim: 40 },
];
const pipelines = [
  { atOnce: 1, words: "one at a time" },
  { atOnce: 64, words: "64 at a time" },
];

export const rpc: Case = {
  name: "rpc",
  about: "requests a second, beside a server that echoes",
  needs: "protocol",
  methods: ["agents.list", "sessions.list"],
  async run({ isQuick, ceilingUrl, start }) {
    const [rounds, forMs] = isQuick ? [1, 20] : [5, 700];
    await using target = await start();
    using wire = await target.open();
    using bare = await Wire.open({ url: ceilingUrl });
    await makeSession(wire);
    const measures: Measure[] = [];
    for (const { atOnce, words } of pipelines) {
      const rates = new Map<string, number[]>(["ceiling", ...calls.map(({ name }) => name)].map((name) => [name, []]));
      // The first round warms up and is not counted.
      for (let round = 0; round <= rounds; round += 1) {
        const note = (name: string, rate: number): void => void (round > 0 && rates.get(name)?.push(rate));
        const frame = { type: "req", id: "1", method: "agents.list", params: {} };
        note("ceiling", await bare.saturate(frame, { marker: '"type":"req"', atOnce, forMs }));
        for (const { name, method, params } of calls)
          note(name, await wire.saturate({ type: "req", id: "1", method, params }, { marker: '"ok":true', atOnce, forMs }));
      }
      const ceiling = median(rates.get("ceiling") ?? []);
      measures.push({ name: `echo, ${words}`, value: ceiling, unit: "/s" });
      for (const { name, aim } of calls) {
        const rate = median(rates.get(name) ?? []);
        measures.push({ name: `${name}, ${words}`, value: rate, unit: "/s" });
        measures.push({ name: `${name}, ${words}, of the echo`, value: (100 * rate) / ceiling, unit: "%", ...atLeast(aim) });
      }
    }
    return measures;
  },
};

/** A list of one row needs a row. */
async function makeSession(wire: Wire): Promise<void> {
  if (wire.methods.includes("sessions.patch")) await wire.request("sessions.patch", { key: "bench-row", label: "bench" });
}
