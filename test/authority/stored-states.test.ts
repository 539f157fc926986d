/**
 * Whatever stands in the pairing tables, however the gateway is reached and whatever became of its process: a spawn inside
 * is accepted and ends, the tables stay the same to the byte, and nobody is asked to approve anything.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { startGatewayProcess } from "../support/gateway-process.ts";
import { script, spawnStep } from "../support/script.ts";
import { startGateway } from "../support/start-gateway.ts";
import { dumpPairing, type StoredState, storedStates, storeDevice } from "../support/stored-pairing.ts";
import { connectWire, type Wire } from "../support/wire-client.ts";

const splitInTwo = script(
  "split",
  { call: [spawnStep("left", { say: "L" }), spawnStep("right", { say: "R" })] },
  { awaitChildren: true },
  { say: "{{children}}" },
);

/** How the gateway is reached; `headers`: of somebody who holds no more than the door gives, and watches. */
const binds = {
  loopback: { gateway: {}, headers: {} },
  proxy: {
    gateway: { trustedProxies: ["127.0.0.1"], publicUrl: "https://gateway.example" },
    headers: { "x-forwarded-for": "192.0.2.9", host: "gateway.example" },
  },
} as const satisfies Record<string, { readonly gateway: object; readonly headers: Readonly<Record<string, string>> }>;
const authModes = ["token"] as const;
const lives = ["fresh", "restart", "kill -9"] as const;

interface Setting {
  readonly state: StoredState;
  readonly bind: keyof typeof binds;
  readonly authMode: (typeof authModes)[number];
  readonly life: (typeof lives)[number];
}

const bindNames = Object.keys(binds) as (keyof typeof binds)[];
const all = storedStates.flatMap((state) =>
  bindNames.flatMap((bind) => authModes.flatMap((authMode) => lives.map((life): Setting => ({ state, bind, authMode, life })))),
);
/** Every two values of two columns meet: each state with each life, and the binds take turns along both. */
const pairs = all.filter(
  ({ state, bind, life }) => bindNames[(storedStates.indexOf(state) + lives.indexOf(life)) % bindNames.length] === bind,
);
const chosen = process.env["PORTREEVE_LONG"] === "1" ? all : pairs;

test("the chosen settings hold every pair of values", () => {
  const pairsOf = (settings: readonly Setting[]): ReadonlySet<string> =>
    new Set(
      settings.flatMap((setting) => {
        const values = Object.entries(setting).map(([column, value]) => `${column}=${value}`);
        return values.flatMap((one, index) => values.slice(index + 1).map((other) => `${one} ${other}`));
      }),
    );

  assert.deepEqual([...pairsOf(chosen)].sort(), [...pairsOf(all)].sort());
});

for (const setting of chosen) {
  test(`stored ${setting.state}, reached by ${setting.bind}, mode ${setting.authMode}, ${setting.life}: a spawn inside is accepted and pairing is untouched`, () =>
    setting.life === "kill -9" ? spawnAcrossKill(setting) : spawnInside(setting));
}

async function spawnInside({ state, bind, life }: Setting): Promise<void> {
  const { gateway: config, headers } = binds[bind];
  await using gw = await startGateway({ config: { gateway: config } });
  if (state !== "none") storeDevice(gw.stateDir, state);
  const before = dumpPairing(gw.stateDir);
  const asked: unknown[] = [];
  const watch = () => gw.gateway.bus.subscribe("device.pair.requested", (event) => asked.push(event));
  watch();
  await using far = await connectWire(gw.url, { token: gw.token, scopes: ["operator.pairing"] }, headers);

  const accepted = Promise.withResolvers<void>();
  const answer = gw
    .callerWith("operator.admin")
    .call("agent", { message: splitInTwo, idempotencyKey: "k" }, { onAccepted: () => accepted.resolve() });
  answer.catch(accepted.reject);
  await accepted.promise;
  if (life === "restart") {
    await gw.restart();
    watch();
  }
  const ended = await gw.callerWith("operator.write").call("agent.wait", { runId: "k", timeoutMs: 30_000 });
  const { children, pairing } = await gw.callerWith("operator.read").call("status", {});

  assert.equal(ended.status, "ok");
  assert.deepEqual([children.accepted, children.completed, pairing.requestsCreated], [2, 2, 0]);
  assert.deepEqual([asked, far.frames.filter(({ event }) => event?.startsWith("device.pair.") === true)], [[], []]);
  assert.equal(dumpPairing(gw.stateDir), before);
}

async function spawnAcrossKill({ state, bind }: Setting): Promise<void> {
  const { gateway: config, headers } = binds[bind];
  await using gw = await startGatewayProcess({ config: { gateway: config } });
  if (state !== "none") storeDevice(gw.stateDir, state);
  const before = dumpPairing(gw.stateDir);
  const watcher = { token: gw.token, scopes: ["operator.pairing"] };
  {
    await using wire = await connectWire(gw.url, { token: gw.token, scopes: ["operator.admin"] });
    await start(wire);
    await gw.kill();
  }
  await gw.start();
  await using far = await connectWire(gw.url, watcher, headers);
  await using wire = await connectWire(gw.url, { token: gw.token, scopes: ["operator.admin", "operator.pairing"] });

  const ended = await wire.request("agent.wait", { runId: "k", timeoutMs: 30_000 });
  const status = await wire.request("status", {});

  assert.equal(ended.payload?.["status"], "ok");
  const { accepted, completed } = (status.payload ?? {})["children"] as { accepted: number; completed: number };
  assert.deepEqual([accepted, completed, status.payload?.["pairing"]], [2, 2, { requestsCreated: 0, pending: 0 }]);
  for (const { frames } of [wire, far])
    assert.deepEqual(
      frames.filter(({ event }) => event?.startsWith("device.pair.") === true),
      [],
    );
  assert.equal(dumpPairing(gw.stateDir), before);
}

/** Asks for the run; resolves once it is durable. */
async function start(wire: Wire): Promise<void> {
  const { payload } = await wire.request("agent", { message: splitInTwo, idempotencyKey: "k" });
  assert.equal(payload?.["status"], "accepted");
}
