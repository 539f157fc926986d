/** One real gateway under attack, and the client that never gives up. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type GatewayProcess, startGatewayProcess } from "../support/gateway-process.ts";
import { connectWire, type Wire } from "../support/wire-client.ts";
import type { Random } from "../simulation/random.ts";
import { createFamily, type Family } from "./family.ts";
import type { Jobs } from "./jobs.ts";

export function startWithTools(): Promise<GatewayProcess> {
  return startGatewayProcess({ entry: join(import.meta.dirname, "../support/gateway-with-tools.ts") });
}

/** Kills the process `kills` times, each after a number of events that the seed says, while families and jobs come in between. */
export async function harass(
  gateway: GatewayProcess,
  random: Random,
  plan: { name: string; families: number; kills: number; jobs: Jobs },
): Promise<Family[]> {
  const families: Family[] = [];
  for (let killed = 0; killed < plan.kills; killed += 1) {
    const due = Math.ceil(((killed + 1) * plan.families) / plan.kills);
    while (families.length < due) families.push(createFamily(`${plan.name}-${families.length}`));
    await live(gateway, families, { events: 1 + random.int(80), addJob: (admin) => plan.jobs.add(admin, random) });
    await gateway.kill();
    await gateway.start();
  }
  return families;
}

/** When nothing is told any more, so many answers stand for an event. */
const answersAnEvent = 10;

/** Sends what is not acknowledged, and returns after so many events. */
async function live(
  gateway: GatewayProcess,
  families: readonly Family[],
  { events, addJob }: { readonly events: number; readonly addJob: (admin: Wire) => Promise<void> },
): Promise<void> {
  await using wire = await connect(gateway);
  await using admin = await connect(gateway, "operator.admin");
  await wire.request("sessions.subscribe", {});
  for (const family of families.filter((one) => !one.isAcknowledged)) send(wire, family).catch(ignore);
  addJob(admin).catch(ignore);
  const before = wire.frames.length;
  let answers = 0;
  // However fast it answers, its runs get somewhere: one that dies over and over at the same step would be given up.
  while (wire.frames.length - before - answers + answers / answersAnEvent < events) {
    await wire.request("health", {});
    answers += 1;
  }
}

/** Lets everything come to its end. */
export async function finish(gateway: GatewayProcess, families: readonly Family[]): Promise<void> {
  await using wire = await connect(gateway);
  await Promise.all(families.filter((one) => !one.isAcknowledged).map((family) => send(wire, family)));
  const ends = await Promise.all(families.map(({ key }) => wire.request("agent.wait", { runId: key, timeoutMs: 120_000 })));
  assert.deepEqual(
    ends.filter((end) => end.payload?.["status"] !== "ok").map(({ payload, error }) => payload ?? error),
    [],
  );
}

export async function send(wire: Wire, family: Family): Promise<string | undefined> {
  const { sessionKey, message, key: idempotencyKey } = family;
  const answer = await wire.request("chat.send", { sessionKey, message, idempotencyKey });
  if (answer.ok === true) family.isAcknowledged = true;
  return answer.error?.details?.["code"] as string | undefined;
}

export function connect(gateway: GatewayProcess, scope = "operator.write"): Promise<Wire> {
  return connectWire(gateway.url, { token: gateway.token, scopes: [scope] });
}

function ignore(): void {}
