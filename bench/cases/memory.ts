/** What a gateway holds: 10,000 idle child sessions, and whether turns leave something behind. From the kernel, after a rest. */
import { setTimeout as sleep } from "node:timers/promises";
import { toMessage } from "../model-server.ts";
import type { Case } from "../case.ts";
import { atMost, median, repeat } from "../measure.ts";
import { readRss } from "../processes.ts";
import type { Target } from "../target.ts";

const childrenASession = 10;
const turnsASession = 10;
const atOnce = 8;

export const idle: Case = {
  name: "idle",
  about: "memory with 10,000 idle child sessions",
  needs: "process",
  methods: ["subagents.spawn"],
  async run({ isQuick, model, start }) {
    const count = isQuick ? 10 : 10_000;
    await using target = await start();
    using wire = await target.open();
    const beforeMb = await readSettled(target, isQuick);
    await repeat(count, atOnce, async (index) => {
      const tag = `idle-${index}`;
      await wire.spawn(`bench-idle-${Math.floor(index / childrenASession)}`, toMessage({ tag }));
      await model.end(`after:${tag}`);
    });
    return [
      { name: "memory before (RSS)", value: beforeMb, unit: "MB" },
      { name: `memory with ${count} idle child sessions (RSS)`, value: await readSettled(target, isQuick), unit: "MB", ...atMost(200) },
    ];
  },
};

export const growth: Case = {
  name: "growth",
  about: "memory after 10,000 turns beside after 1,000",
  needs: "process",
  methods: ["agent"],
  async run({ isQuick, start }) {
    const [few, many] = isQuick ? [5, 10] : [1_000, 10_000];
    await using target = await start();
    using wire = await target.open();
    let turns = 0;
    const take = async (count: number): Promise<number> => {
      await repeat(count, atOnce, () => {
        const at = turns++;
        // A session's turns come one after the other: neighbours go to different sessions.
        const session = `bench-growth-${Math.floor(at / (turnsASession * atOnce))}-${at % atOnce}`;
        return wire.agent(session, toMessage({ tag: `growth-${at}` }));
      });
      return await readSettled(target, isQuick);
    };
    const after = await take(few);
    const later = await take(many - few);
    return [
      { name: `memory after ${few} turns (RSS)`, value: after, unit: "MB" },
      { name: `memory after ${many} turns (RSS)`, value: later, unit: "MB" },
      { name: "growth", value: (100 * (later - after)) / after, unit: "%", ...atMost(5) },
    ];
  },
};

/** The median of 20 readings after a rest: a collector that runs when it likes moves single readings by megabytes. */
async function readSettled({ pid = 0 }: Target, isQuick: boolean): Promise<number> {
  const [restMs, everyMs] = isQuick ? [0, 1] : [5_000, 250];
  await sleep(restMs);
  const readings: number[] = [];
  for (let reading = 0; reading < 20; reading += 1) {
    readings.push(readRss(pid));
    await sleep(everyMs);
  }
  return median(readings);
}
