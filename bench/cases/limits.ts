/** Spawns that race for the last places: how many get in is exact, or the case fails. */
import { toMessage } from "../model-server.ts";
import type { Case } from "../case.ts";
import { nowMs, repeat } from "../measure.ts";
import { Refused, Wire } from "../wire.ts";

const limit = 100;
const sessionKey = "bench-limits";

export const limits: Case = {
  name: "limits",
  about: "spawns that race for a session's places",
  needs: "process",
  methods: ["subagents.spawn", "sessions.list"],
  async run({ isQuick, start }) {
    const racing = isQuick ? 120 : 1_000;
    await using target = await start({ subagents: { maxChildrenPerAgent: limit } });
    using wires = await Wire.openMany(target, 4);
    let accepted = 0;
    let refused = 0;
    const startedAt = nowMs();
    await repeat(racing, racing, async (index) => {
      try {
        await wires[index % wires.length]?.spawn(sessionKey, toMessage({ tag: `limits-${index}`, hold: "never" }));
        accepted += 1;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        refused += 1;
      }
    });
    const tookMs = nowMs() - startedAt;
    const list = await wires[0]?.request("sessions.list", { spawnedBy: sessionKey, limit: 1_000 });
    const children = Number(list?.["totalCount"]);
    if (accepted !== limit || children !== limit || accepted + refused !== racing)
      throw new Error(`of ${racing} racing spawns ${accepted} were accepted and ${children} children exist; the limit is ${limit}`);
    return [
      { name: `children of ${racing} racing spawns; the limit is ${limit}`, value: children, unit: "" },
      { name: "answering all of them", value: tookMs, unit: "ms" },
    ];
  },
};
