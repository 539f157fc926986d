/** From process start to `/readyz` with 100,000 stored runs. */
import type { Case } from "../case.ts";
import { atMost, median } from "../measure.ts";
import { makeStoredRuns } from "../stored-runs.ts";
import { startTimed } from "../timed-start.ts";

export const boot: Case = {
  name: "boot",
  about: "process start to /readyz with 100,000 stored runs",
  needs: "process",
  methods: [],
  async run({ isQuick }) {
    const [count, starts] = isQuick ? [40, 1] : [100_000, 5];
    const home = await makeStoredRuns(count);
    const times: number[] = [];
    for (let start = 0; start < starts; start += 1) {
      await using gateway = await startTimed(home);
      times.push(gateway.readyMs);
    }
    return [
      { name: `start to /readyz with ${count} runs, median`, value: median(times), unit: "ms", ...atMost(2_000) },
      { name: `start to /readyz with ${count} runs, longest`, value: Math.max(...times), unit: "ms" },
    ];
  },
};
