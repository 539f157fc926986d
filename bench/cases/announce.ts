/** From a child's last word to its parent's next model call, both seen by the model server, with nothing else to do. */
import { toMessage } from "../model-server.ts";
import type { Case } from "../case.ts";
import { atMost, percentile } from "../measure.ts";
import { countCpu } from "../target.ts";

export const announce: Case = {
  name: "announce",
  about: "a child's end to its parent's model call, idle",
  needs: "model",
  methods: ["subagents.spawn"],
  async run({ isQuick, model, start }) {
    const [warmUps, children] = isQuick ? [0, 3] : [20, 200];
    await using target = await start();
    using wire = await target.open();
    const delays: number[] = [];
    let toCpu = countCpu(target);
    for (let index = 0; index < warmUps + children; index += 1) {
      if (index === warmUps) toCpu = countCpu(target);
      const tag = `announce-${index}`;
      await wire.spawn(`bench-announce-${Math.floor(index / 10)}`, toMessage({ tag }));
      const { endedAt } = await model.end(tag);
      const arrivedAt = await model.arrival(`after:${tag}`);
      await model.end(`after:${tag}`);
      if (index >= warmUps) delays.push(arrivedAt - endedAt);
    }
    return [
      { name: "child's end to parent's model call, p50", value: percentile(delays, 0.5), unit: "ms" },
      { name: "child's end to parent's model call, p99", value: percentile(delays, 0.99), unit: "ms", ...atMost(50) },
      ...toCpu("a child and what its parent makes of it", children),
    ];
  },
};
