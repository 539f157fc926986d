import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import test from "node:test";
import { setImmediate } from "node:timers/promises";
import { limits } from "@portreeve/protocol";
import { ManualClock } from "../kit/manual-clock.ts";
import { Bus } from "../bus.ts";
import type { Dispatch } from "../dispatch/types.ts";
import { createAttempts } from "../identity/attempts.ts";
import { createBearers } from "../identity/bearers.ts";
import { createCredentials } from "../identity/credentials.ts";
import { parseConfig } from "../kit/config.ts";
import { createIds } from "../kit/ids.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import { createHttpDoor, serverOptions } from "./server.ts";

const ignore = (): void => undefined;

/** The door over a real store and a real port; what it dispatches waits until it is released. */
async function openWorld() {
  await using stack = new AsyncDisposableStack();
  const [clock, bus] = [new ManualClock(), new Bus()];
  const errors: object[] = [];
  const log = { debug: ignore, info: ignore, warn: ignore, error: (facts: object) => void errors.push(facts) };
  const store = stack.use(await openStoreFile(":memory:", createIds()));
  const credentials = createCredentials({ secret: new Secret("s"), tokenKey: createSecretKey(Buffer.alloc(32)), gatewayId: "g" });
  const attempts = createAttempts({ store: store.attempts, clock });
  const bearers = createBearers({
    bearers: store.bearers,
    devices: store.devices,
    credentials,
    attempts,
    authMode: "token",
    clock,
    log,
    bus,
  });
  const begun: { readonly release: () => void; readonly signal: AbortSignal }[] = [];
  const hearing = Promise.withResolvers<void>();
  const dispatch: Dispatch = async (_principal, _name, _params, { signal }) => {
    const held = Promise.withResolvers<void>();
    begun.push({ release: held.resolve, signal });
    hearing.resolve();
    await held.promise;
    return { defaultId: "main", mainKey: "main", scope: "per-sender", agents: [] };
  };
  const { gateway: config } = parseConfig("", "test");
  const door = createHttpDoor({
    config,
    clock,
    log,
    failing: () => Promise.resolve([]),
    bearers,
    dispatch,
    bus,
    ids: createIds(),
    countRefusal: ignore,
    version: "1",
  });
  const server = createServer(serverOptions, door.listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  stack.defer(() => server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const owned = stack.move();
  return {
    clock,
    door,
    port,
    server,
    errors,
    begun,
    issue: (minutes?: number) => bearers.issue({ label: "b", scopes: ["operator.read"], minutes }, secretPrincipal(["operator.admin"])),
    /** Resolves when the request waits in dispatch. */
    async begin(token: string) {
      const answered = fetch(`http://127.0.0.1:${port}/v1/models`, { headers: { authorization: `Bearer ${token}` } });
      await hearing.promise;
      const [work] = begun;
      assert.ok(work);
      return { ...work, answered };
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

test("whoever ends a bearer waits until what it asked for can be answered no more, and it is not answered", async () => {
  await using world = await openWorld();
  const { deviceId, token } = await world.issue();
  const { release, signal, answered } = await world.begin(token);
  let isDone = false;

  const expelled = world.door.expelDevice({ deviceId, role: "operator" }).then(() => (isDone = true));
  await world.door.expelDevice({ deviceId: "another" });
  await world.door.expelDevice({ deviceId, role: "node" });
  const wasDone = isDone;
  release();
  await expelled;
  const answer = await answered;

  assert.deepEqual([wasDone, signal.aborted, answer.status], [false, true, 401]);
  assert.doesNotMatch(await answer.text(), /openclaw/);
});

test("what stands on the shared secret ends with it, and what stands on a bearer does not", async () => {
  await using world = await openWorld();
  await using other = await openWorld();
  const bySecret = await world.begin("s");
  const byBearer = await other.begin((await other.issue()).token);

  for (const { door } of [world, other]) door.secretChanged();
  for (const { release } of [bySecret, byBearer]) release();

  assert.deepEqual([(await bySecret.answered).status, (await byBearer.answered).status], [401, 200]);
});

test("a request that lasts longer than its bearer's scopes is not answered", async () => {
  await using world = await openWorld();
  const { token } = await world.issue(1);
  const { release, answered } = await world.begin(token);

  world.clock.advance(60_000);
  release();

  assert.equal((await answered).status, 401);
});

test("a gateway that stops waits for what is under way, and answers that it stops; so it does to whoever comes then", async () => {
  await using world = await openWorld();
  const { release, signal, answered } = await world.begin("s");
  let isDone = false;

  const closed = world.door.close().then(() => (isDone = true));
  const late = await fetch(`http://127.0.0.1:${world.port}/v1/models`, { headers: { authorization: "Bearer s" } });
  const wasDone = isDone;
  release();
  await closed;

  assert.deepEqual([wasDone, signal.aborted, late.status, (await answered).status], [false, true, 503, 503]);
});

test("a bearer has as many requests under way as a socket may, and no more; another has its own", async () => {
  await using world = await openWorld();
  const { token } = await world.issue();
  const ask = (bearer: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${world.port}/v1/models`, { headers: { authorization: `Bearer ${bearer}` } });
  const held = Array.from({ length: limits.requestsInFlight }, () => ask("s"));
  while (world.begun.length < held.length) await setImmediate();

  const over = await ask("s");
  const other = ask(token);
  while (world.begun.length === held.length) await setImmediate();
  for (const { release } of world.begun) release();
  const statuses = new Set((await Promise.all([...held, other])).map(({ status }) => status));
  const again = ask("s");
  while (world.begun.length < held.length + 2) await setImmediate();
  world.begun.at(-1)?.release();

  assert.deepEqual([over.status, over.headers.get("retry-after"), [...statuses], (await again).status], [429, "1", [200], 200]);
});

test("a request that breaks off in its body is no failure of the gateway", async () => {
  await using world = await openWorld();
  const arrived = once(world.server, "request") as Promise<[IncomingMessage, ServerResponse]>;
  const socket = connect(world.port, "127.0.0.1");
  socket.write("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer s\r\ntransfer-encoding: chunked\r\n\r\n");
  const [, response] = await arrived;
  const closed = once(response, "close");

  socket.destroy();
  await closed;
  const next = await world.begin("s");
  next.release();

  assert.equal((await next.answered).status, 200);
  assert.deepEqual(world.errors, []);
});
