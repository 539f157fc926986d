/**
 * `npm run test:clients`: the clients people have, unmodified, against one gateway. When all of them were tried, what came of it
 * is written to docs/reference/compatibility.md. `PORTREEVE_CLIENTS=words` tries the flows whose line holds the words, and writes nothing.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createCompatibilityPage, type Row } from "./compatibility-page.ts";
import { type Flow, NotHere, type Outcome } from "./flow.ts";
import { listFlows } from "./flows/all.ts";
import { installClients } from "./installation.ts";
import { startRig } from "./rig.ts";

const page = join(import.meta.dirname, "../../docs/reference/compatibility.md");
const only = process.env["PORTREEVE_CLIENTS"] ?? "";

test("the clients people have", async (t) => {
  const absence = await installClients();
  if (absence !== undefined) {
    t.diagnostic(`NOTHING WAS TRIED: ${absence}`);
    t.skip(absence);
    return;
  }
  await using rig = await startRig();
  const flows = (await listFlows()).filter((flow) => describe(flow).includes(only));
  const rows = new Map<Flow, Row>();

  // One lane a version, side by side: clients of both generations are connected at the same time.
  const lanes = Object.values(Object.groupBy(flows, ({ client, version }) => `${client} ${version}`));
  const tryLane = async (lane: readonly Flow[]): Promise<void> => {
    for (const flow of lane) {
      await t.test(describe(flow), async (inner) => {
        const { client, version, name } = flow;
        const [outcome, error] = await tryFlow(() => flow.run(rig));
        rows.set(flow, { client, version, name, outcome });
        if (outcome.kind === "passed" && outcome.upgrade === "cured") inner.diagnostic("its scope upgrade was cured by one approval");
        if (outcome.kind === "skipped") inner.diagnostic(`NOT TRIED: ${outcome.why}`);
        if (outcome.kind === "skipped") inner.skip(outcome.why);
        if (outcome.kind === "failed") throw error;
      });
    }
  };
  await Promise.all(lanes.map((lane = []) => tryLane(lane)));

  if (only === "") await writeFile(page, createCompatibilityPage(flows.flatMap((flow) => rows.get(flow) ?? [])));
});

function describe({ client, version, name }: Flow): string {
  return `${client} ${version}: ${name}`;
}

/** A flow in which nothing more happens has failed. */
const patienceMs = 240_000;

async function tryFlow(run: () => ReturnType<Flow["run"]>): Promise<readonly [outcome: Outcome, error?: unknown]> {
  const ended = new AbortController();
  const giveUp = sleep(patienceMs, undefined, { signal: ended.signal }).then(() => {
    throw new Error("nothing more happened");
  });
  giveUp.catch(() => undefined);
  try {
    return [{ kind: "passed", ...(await Promise.race([run(), giveUp])) }];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [{ kind: error instanceof NotHere ? "skipped" : "failed", why }, error];
  } finally {
    ended.abort();
  }
}
