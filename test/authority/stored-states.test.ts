/**
 * Whatever stands in the pairing tables, however the gateway is reached and proved to, and whatever became of its process: a
 * spawn inside is accepted and ends, the tables stay the same to the byte, and nobody is asked to approve anything.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { describe } from "node:test";
import { splitInTwo } from "../support/delegation.ts";
import { startGatewayProcess } from "../support/gateway-process.ts";
import { startGateway } from "../support/start-gateway.ts";
import { dumpPairing, storedStates, storeDevice } from "../support/stored-pairing.ts";
import { type ConnectInput, connectWire, createWireKey, type Wire } from "../support/wire-client.ts";
import { choosePairwise, pairsIn } from "./pairwise.ts";

const password = "correct horse battery staple";
const forwarded = { "x-forwarded-for": "192.0.2.9", host: "gateway.example", "x-user": "ada" };

/** How the gateway is reached; `headers`: of somebody who holds no more than the door gives, and watches. */
const binds = {
  loopback: { gateway: {}, headers: {} },
  TLS: { gateway: { tls: { mode: "generated" } }, headers: {} },
  proxy: { gateway: { trustedProxies: ["127.0.0.1"], publicUrl: "https://gateway.example" }, headers: forwarded },
} as const satisfies Record<string, { readonly gateway: object; readonly headers: Readonly<Record<string, string>> }>;
/** `secret`: what a program on the gateway's machine proves itself with; undefined: the one in the state folder. */
const authModes = {
  token: { auth: { mode: "token" }, secret: undefined },
  password: { auth: { mode: "password", password }, secret: password },
  none: { auth: { mode: "none" }, secret: undefined },
  "trusted-proxy": {
    auth: { mode: "trusted-proxy", trustedProxy: { userHeader: "x-user", allowLoopback: true } },
    secret: undefined,
  },
} as const satisfies Record<string, { readonly auth: object; readonly secret: string | undefined }>;
const lives = ["fresh", "restart", "kill -9"] as const;

type Bind = keyof typeof binds;
type AuthMode = keyof typeof authModes;
type Setting = {
  readonly state: (typeof storedStates)[number];
  readonly bind: Bind;
  readonly authMode: AuthMode;
  readonly life: (typeof lives)[number];
};

/** A proxy's word needs a proxy, and without any proof only the machine itself is served; all else goes together. */
function isPossible({ bind, authMode }: Setting): boolean {
  return authMode === "trusted-proxy" ? bind === "proxy" : authMode !== "none" || bind === "loopback";
}

const bindNames = Object.keys(binds) as Bind[];
const modeNames = Object.keys(authModes) as AuthMode[];
const every = lives.flatMap((life) =>
  storedStates.flatMap((state) => bindNames.flatMap((bind) => modeNames.map((authMode): Setting => ({ state, bind, authMode, life })))),
);
const possible = every.filter(isPossible);
const chosen = process.env["PORTREEVE_LONG"] === "1" ? possible : choosePairwise(possible);

test("the chosen settings hold every pair of values that can go together", () => {
  const absent = [...pairsIn(every)].filter((pair) => !pairsIn(chosen).has(pair));

  assert.deepEqual(absent.sort(), [
    "bind=TLS authMode=none",
    "bind=TLS authMode=trusted-proxy",
    "bind=loopback authMode=trusted-proxy",
    "bind=proxy authMode=none",
  ]);
});

for (const setting of chosen.filter(({ life }) => life !== "kill -9")) test(nameOf(setting), () => spawnInside(setting));
// Most of their time is the start of a process.
describe("killed", { concurrency: 2 }, () => {
  for (const setting of chosen.filter(({ life }) => life === "kill -9")) test(nameOf(setting), () => spawnAcrossKill(setting));
});

function nameOf({ state, bind, authMode, life }: Setting): string {
  return `${life === "fresh" ? "2." : "23."} stored ${state}, reached by ${bind}, mode ${authMode}, ${life}: a spawn inside is accepted and pairing is untouched`;
}

async function spawnInside({ state, bind, authMode, life }: Setting): Promise<void> {
  await using gw = await startGateway({ config: toConfig(bind, authMode) });
  if (state !== "none") storeDevice(gw.stateDir, state);
  const before = dumpPairing(gw.stateDir);
  const asked: unknown[] = [];
  const watch = () => gw.gateway.bus.subscribe("device.pair.requested", (event) => asked.push(event));
  watch();
  await using far = await watchFrom({ bind, authMode }, gw);

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
  assert.deepEqual([asked, pairingEvents(far)], [[], []]);
  assert.equal(dumpPairing(gw.stateDir), before);
}

async function spawnAcrossKill({ state, bind, authMode }: Setting): Promise<void> {
  await using gw = await startGatewayProcess({ config: toConfig(bind, authMode) });
  if (state !== "none") storeDevice(gw.stateDir, state);
  const operator = await createOperator(authMode, gw);
  const before = dumpPairing(gw.stateDir);
  {
    await using wire = await operator();
    const { payload } = await wire.request("agent", { message: splitInTwo, idempotencyKey: "k" });
    assert.equal(payload?.["status"], "accepted");
    await gw.kill();
  }
  await gw.start();
  await using far = await watchFrom({ bind, authMode }, gw);
  await using wire = await operator();

  const ended = await wire.request("agent.wait", { runId: "k", timeoutMs: 30_000 });
  const status = await wire.request("status", {});

  assert.equal(ended.payload?.["status"], "ok");
  const { accepted, completed } = (status.payload ?? {})["children"] as { accepted: number; completed: number };
  assert.deepEqual([accepted, completed, status.payload?.["pairing"]], [2, 2, { requestsCreated: 0, pending: 0 }]);
  assert.deepEqual([pairingEvents(wire), pairingEvents(far)], [[], []]);
  assert.equal(dumpPairing(gw.stateDir), before);
}

type Reached = { readonly url: string; readonly stateDir: string; readonly token: string };

function toConfig(bind: Bind, authMode: AuthMode): object {
  return { gateway: { ...binds[bind].gateway, auth: authModes[authMode].auth } };
}

async function watchFrom({ bind, authMode }: Pick<Setting, "bind" | "authMode">, gw: Reached): Promise<Wire> {
  const input = { token: secretOf(authMode, gw), scopes: ["operator.pairing"] };
  return connectWire(gw.url, input, binds[bind].headers, await certificateOf(gw.url, gw.stateDir));
}

function secretOf(authMode: AuthMode, { token }: Reached): string {
  return authModes[authMode].secret ?? token;
}

/** Connects of the operator on the gateway's machine: with the local secret, else with a device that is paired before all else. */
async function createOperator(authMode: AuthMode, gw: Reached): Promise<() => Promise<Wire>> {
  const scopes = ["operator.admin", "operator.pairing"];
  const key = createWireKey();
  const input = (): ConnectInput => (authMode === "none" ? { key, scopes } : { token: secretOf(authMode, gw), scopes });
  const connect = async (): Promise<Wire> => connectWire(gw.url, input(), {}, await certificateOf(gw.url, gw.stateDir));
  if (authMode !== "none") return connect;
  // The first pairs, the second notes when the device was seen, and the write that follows is answered after that note.
  for (const round of ["pair", "seen"]) {
    await using wire = await connect();
    assert.equal((await wire.request("sessions.patch", { key: "agent:main:noted", label: round })).ok, true);
  }
  return connect;
}

async function certificateOf(url: string, stateDir: string): Promise<Buffer | undefined> {
  return url.startsWith("wss:") ? readFile(join(stateDir, "tls-cert.pem")) : undefined;
}

function pairingEvents({ frames }: Wire): readonly unknown[] {
  return frames.filter(({ event }) => event?.startsWith("device.pair.") === true);
}
