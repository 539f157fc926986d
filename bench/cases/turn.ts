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
    const [warmUps, turns] = isQuick ? [1, 5] : [100, 500];
    await using target = await start();
    using wire = await target.open();
    const overheads: number[] = [];
    let toCpu = countCpu(target);
    for (let index = 0; index < warmUps + turns; index += 1) {
      if (index === warmUps) toCpu = countCpu(target);
      const tag = `turn-${index}`;
      const startedAt = nowMs();
      await wire.agent(`bench-turn-${Math.floor(index / turnsASession)}`, toMessage({ tag }));
      const tookMs = nowMs() - startedAt;
      const { arrivedAt, endedAt } = await model.end(tag);
      if (index >= warmUps) overheads.push(tookMs - (endedAt - arrivedAt));
    }
    return [
      { name: "overhead of a turn, p50", value: percentile(overheads, 0.5), unit: "ms", ...atMost(5) },
      { name: "overhead of a turn, p99", value: percentile(overheads, 0.99), unit: "ms" },
      ...toCpu("a turn", turns),
    ];
  },
};
