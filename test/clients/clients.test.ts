/**
 * `npm run test:clients`: the clients people have, unmodified, against one gateway. What came of it is written to
 * docs/reference/compatibility.md. They come in any order: `PORTREEVE_SEED=N` makes the same one again. `PORTREEVE_CLIENTS=PATTERN`
 * tries only the flows whose line fits; the others stay as they last were.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createCompatibilityPage } from "./compatibility-page.ts";
import { type Flow, NotHere, type Outcome } from "./flow.ts";
import { listLanes } from "./flows/all.ts";
import { createRandom, type Random } from "../simulation/random.ts";
import { installClients } from "./installation.ts";
import { keepOutcomes, lineOf, readOutcomes } from "./outcomes.ts";
import { startRig } from "./rig.ts";

const page = join(import.meta.dirname, "../../docs/reference/compatibility.md");
const seed = Number(process.env["PORTREEVE_SEED"] ?? Date.now() % 2_147_483_647);
const only = new RegExp(process.env["PORTREEVE_CLIENTS"] ?? "");

test("the clients people have", async (t) => {
  const absence = await installClients();
  if (absence !== undefined) {
    t.diagnostic(`NOTHING WAS TRIED: ${absence}`);
    t.skip(absence);
    return;
  }
  t.diagnostic(`PORTREEVE_SEED=${seed}`);
  const random = createRandom(seed);
  await using rig = await startRig();
  const lanes = await listLanes();
  const outcomes: Record<string, Outcome> = { ...(await readOutcomes()) };
  const tryLane = async (lane: readonly Flow[]): Promise<void> => {
    for (const flow of lane) {
      await t.test(lineOf(flow), async (inner) => {
        const [outcome, error] = await tryFlow(() => flow.run(rig));
        outcomes[lineOf(flow)] = outcome;
        if (outcome.kind === "passed" && outcome.upgrade === "cured") inner.diagnostic("its scope upgrade was cured by one approval");
        if (outcome.kind === "skipped") inner.diagnostic(`NOT TRIED: ${outcome.why}`);
        if (outcome.kind === "skipped") inner.skip(outcome.why);
        if (outcome.kind === "failed") throw error;
      });
      await keepOutcomes(outcomes);
    }
  };
  await Promise.all(lanes.map((lane) => tryLane(shuffle(lane, random).filter((flow) => only.test(lineOf(flow))))));

  const rows = lanes.flat().flatMap((flow) => {
    const outcome = outcomes[lineOf(flow)];
    return outcome === undefined ? [] : [{ ...flow, outcome }];
  });
  if (rows.length === lanes.flat().length) await writeFile(page, createCompatibilityPage(rows));
});

function shuffle<T>(list: readonly T[], random: Random): readonly T[] {
  return list
    .map((item) => ({ item, place: random.int(2 ** 31) }))
    .toSorted((one, other) => one.place - other.place)
    .map(({ item }) => item);
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
