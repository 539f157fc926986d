/** What the gateway adds to one agent turn: request to final answer, without the time the model server took. */
import { toMessage } from "../model-server.ts";
import type { Case } from "../case.ts";
import { atMost, nowMs, percentile } from "../measure.ts";
import { countCpu } from "../target.ts";

const turnsASession = 10;

export const turn: Case = {
  name: "turn",
  about: "what the gateway adds to an agent turn, the model's own time taken off",
  needs: "model",
  methods: ["agent"],
  async run({ isQuick, model, start }) {
    const turns = isQuick ? 5 : 500;
    await using target = await start();
    using wire = await target.open();
    let count = 0;
    const takeTurns = async (): Promise<readonly number[]> => {
      const overheads: number[] = [];
      for (const last = count + turns; count < last; count += 1) {
        const tag = `turn-${count}`;
        const startedAt = nowMs();
        await wire.agent(`bench-turn-${Math.floor(count / turnsASession)}`, toMessage({ tag }));
        const tookMs = nowMs() - startedAt;
        const { arrivedAt, endedAt } = await model.end(tag);
        overheads.push(tookMs - (endedAt - arrivedAt));
      }
      return overheads;
    };
    const first = await takeTurns();
    const toCpu = countCpu(target);
    const overheads = await takeTurns();
    return [
      { name: `overhead of the first ${turns} turns after a start, p50`, value: percentile(first, 0.5), unit: "ms" },
      { name: "overhead of a turn, p50", value: percentile(overheads, 0.5), unit: "ms", ...atMost(5) },
      { name: "overhead of a turn, p99", value: percentile(overheads, 0.99), unit: "ms" },
      ...toCpu("a turn", turns),
    ];
  },
};
