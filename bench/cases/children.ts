/**
 * 1,000 sub-agents of ten conversations that work at once: whether all get on, and whether anybody else waits meanwhile.
 * Each takes turns without an end, a tool call each; the model server counts them.
 */
import { toMessage } from "../model-server.ts";
import type { Case } from "../case.ts";
import type { Stalls } from "../loop-watch.ts";
import { atLeast, atMost, jain, type Measure, nowMs, percentile, repeat } from "../measure.ts";
import { startProbe } from "../probe.ts";
import { countCpu } from "../target.ts";

const longestMs = 120_000;

export const children: Case = {
  name: "children",
  about: "1,000 sub-agents of ten conversations at once",
  needs: "process",
  methods: ["subagents.spawn", "agents.list"],
  async run({ isQuick, model, start, ceilingUrl }) {
    const [roots, perRoot, turnsEach] = isQuick ? [2, 3, 2] : [10, 100, 8];
    await using target = await start({ subagents: { maxChildrenPerAgent: perRoot, maxConcurrent: roots * perRoot }, watchesLoop: true });
    using wire = await target.open();
    const tagsByRoot = Array.from({ length: roots }, (_, at) => Array.from({ length: perRoot }, (__, child) => `child-${at}-${child}`));
    const tags = tagsByRoot.flat();
    // The first call of a process loads what calls need.
    await wire.agent("bench-first", toMessage({ tag: "first" }));
    await target.stalls();
    const probe = await startProbe(target, ceilingUrl);
    // Round the roots, so that none begins with all its children before another has one.
    await repeat(tags.length, 20, (index) => {
      const [at, child] = [index % roots, Math.floor(index / roots)];
      return wire.spawn(`bench-children-${at}`, toMessage({ tag: `child-${at}-${child}`, loop: "never" }));
    });
    await Promise.all(tags.map((tag) => model.arrival(tag)));
    model.forget();
    const startedAt = nowMs();
    const toCpu = countCpu(target);
    const turnsOf = (some: readonly string[]): number => some.reduce((sum, tag) => sum + model.answers(tag), 0);
    await model.until(() => turnsOf(tags) >= turnsEach * tags.length || nowMs() > startedAt + longestMs);
    const seconds = (nowMs() - startedAt) / 1_000;
    const cpu = toCpu("a turn with a tool call", turnsOf(tags));
    const each = tags.map((tag) => model.answers(tag));
    const waits = await probe.stop();
    const stalls = await target.stalls();
    return [
      { name: `turns of ${tags.length} children`, value: turnsOf(tags) / seconds, unit: "/s" },
      ...cpu,
      { name: "fairness over the children (Jain)", value: jain(each), unit: "", ...atLeast(0.9) },
      { name: "fairness over the conversations (Jain)", value: jain(tagsByRoot.map(turnsOf)), unit: "", ...atLeast(0.9) },
      { name: "an answer to somebody else, p50", value: percentile(waits.target, 0.5), unit: "ms" },
      { name: "an answer to somebody else, p99", value: percentile(waits.target, 0.99), unit: "ms" },
      { name: "an answer to somebody else, longest", value: Math.max(...waits.target), unit: "ms" },
      ...(stalls === undefined ? [] : toMeasures(stalls)),
      { name: "the echo's longest meanwhile", value: Math.max(...waits.echo), unit: "ms" },
    ];
  },
};

function toMeasures({ longestMs, longestOwnMs }: Stalls): readonly Measure[] {
  return [
    { name: "the event loop's longest stall", value: longestMs, unit: "ms", ...atMost(50) },
    { name: "the longest, less its waits for a core", value: longestOwnMs, unit: "ms" },
  ];
}
