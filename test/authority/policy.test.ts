/** One policy table for every door: every method and route, for every kind of caller with every set of scopes, against the table. */
import assert from "node:assert/strict";
import test from "node:test";
import { findMethod, methods, type MethodDefinition, ProtocolError, type ProtocolVersion, type Scope } from "@portreeve/protocol";
import type { RouteHandlers } from "../../packages/gateway/src/http/route-handler.ts";
import { assertListed, routes } from "../../packages/gateway/src/http/routes.ts";
import type { Probes } from "../../packages/gateway/src/http/server.ts";
import {
  devicePrincipal,
  lifecyclePrincipal,
  type Principal,
  runPrincipal,
  secretPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import { startGateway, type TestGateway } from "../support/start-gateway.ts";
import { connectWire, createWireKey, refusedConnect, type Wire } from "../support/wire-client.ts";

type Role = "operator" | "node" | "run";

const definitions: readonly (readonly [name: string, definition: MethodDefinition])[] = Object.entries(methods);
const inTable = [...new Set(definitions.flatMap(([, { scope }]) => (typeof scope === "string" ? [scope] : scope.oneOf)))].filter(
  (scope) => scope !== "none",
);
const subsets = inTable.reduce<readonly (readonly string[])[]>((sets, scope) => [...sets, ...sets.map((set) => [...set, scope])], [[]]);
/** No method takes such parameters: whoever may call it hears so, and nothing happens. */
const malformed = { "not a parameter of any method": true };
/** Where the scope depends on the parameters: some that parse, change nothing, and need what stands beside them. */
const examples: readonly (readonly [name: string, params: object, scope: string])[] = [
  ["agent", { message: "hi", idempotencyKey: "k", agentId: "nobody" }, "operator.write"],
  ["agent", { message: "/reset", idempotencyKey: "k" }, "operator.admin"],
  ["sessions.patch", { key: "agent:nobody:x", label: "x" }, "operator.write"],
  ["sessions.patch", { key: "agent:nobody:x", spawnedBy: "agent:main:main" }, "operator.admin"],
  ["node.invoke", { nodeId: "nobody", command: "device.info", idempotencyKey: "k" }, "operator.write"],
  ["node.invoke", { nodeId: "nobody", command: "fs.listDir", idempotencyKey: "k" }, "operator.admin"],
];

/** The rule, written a second time: admin brings every scope of the table, write brings read, all else itself. */
function holds(scopes: readonly string[], needed: string): boolean {
  return scopes.includes(needed) || scopes.includes("operator.admin") || (needed === "operator.read" && scopes.includes("operator.write"));
}

interface Asking {
  readonly role: Role;
  readonly scopes: readonly string[];
  readonly version?: ProtocolVersion;
}

/** What the table says to a call: the refusal, or `passed`. */
function expected(definition: MethodDefinition, { role, scopes, version = 4 }: Asking, needed?: string): string {
  if (!definition.versions.includes(version)) return "UNKNOWN_METHOD";
  if (!definition.callers.includes(role)) return "WRONG_CALLER";
  const scope = needed ?? (typeof definition.scope === "string" ? definition.scope : definition.scope.malformed);
  return scope === "none" || holds(scopes, scope) ? "passed" : `MISSING_SCOPE ${scope}`;
}

/** What a door said to a call: whatever comes after authorisation counts as passed. */
function toVerdict(code: unknown, missing: unknown): string {
  if (code === "MISSING_SCOPE") return `MISSING_SCOPE ${String(missing)}`;
  return code === "WRONG_CALLER" || code === "UNKNOWN_METHOD" ? code : "passed";
}

async function askInside(gw: TestGateway, principal: Principal, [name, params]: [string, object], version?: ProtocolVersion) {
  try {
    await gw.gateway.dispatch(principal, name, params, { version, signal: new AbortController().signal });
    return "passed";
  } catch (error) {
    assert.ok(error instanceof ProtocolError);
    return toVerdict(error.code, error.details["missingScope"]);
  }
}

async function askOver(wire: Wire, name: string, params: object): Promise<string> {
  const { error } = await wire.request(name, params);
  const verdict = toVerdict(error?.details?.["code"], error?.details?.["missingScope"]);
  // Too many answers of this kind in a row close the socket.
  if (verdict === "WRONG_CALLER") await wire.request("health", {});
  return verdict;
}

/** Every method and every example through `ask`: what was said otherwise than the table says. */
async function findDeviations(ask: (name: string, params: object) => Promise<string>, caller: Asking) {
  const deviations: string[] = [];
  const compare = async (name: string, params: object, said: string): Promise<void> => {
    const verdict = await ask(name, params);
    if (verdict !== said) deviations.push(`${name} as ${caller.role} with [${caller.scopes.join(" ")}]: ${verdict} instead of ${said}`);
  };
  for (const [name, definition] of definitions) await compare(name, malformed, expected(definition, caller));
  for (const [name, params, scope] of examples) await compare(name, params, expected(findMethod(name) ?? assert.fail(), caller, scope));
  for (const name of ["no.such.method", "__proto__", "toString"]) await compare(name, {}, "UNKNOWN_METHOD");
  return deviations;
}

const proxy = { "x-forwarded-for": "192.0.2.9" };
const throughProxy = { config: { gateway: { trustedProxies: ["127.0.0.1"] } } };

test("the table has few enough scopes to try every set of them", () => {
  assert.ok(inTable.length >= 4 && inTable.length <= 6, inTable.join(" "));
  assert.equal(subsets.length, 2 ** inTable.length);
});

test("every scope that depends on parameters has an example that needs it", () => {
  const byParams = definitions.flatMap(([name, { scope }]) =>
    typeof scope === "string" ? [] : scope.oneOf.map((one) => `${name} ${one}`),
  );

  assert.deepEqual(byParams.sort(), examples.map(([name, , scope]) => `${name} ${scope}`).sort());
});

const insiders: Readonly<Record<string, (scopes: readonly string[]) => Principal>> = {
  "a device": (scopes) => devicePrincipal({ deviceId: "d", role: "operator", scopes }),
  "a node": (scopes) => devicePrincipal({ deviceId: "d", role: "node", scopes }),
  "the local secret": (scopes) => secretPrincipal(scopes),
  "a run": (scopes) => runPrincipal({ runId: "r", sessionKey: "s", rootSessionKey: "s", authority: { scopes, owner: true, depth: 0 } }),
};

for (const [name, principalWith] of Object.entries(insiders)) {
  test(`in process, ${name} with any scopes is told what the table says, in either version`, async () => {
    await using gw = await startGateway();

    for (const scopes of subsets) {
      const principal = principalWith(scopes);
      const role = principal.kind === "run" ? "run" : principal.kind === "device" ? principal.role : "operator";
      for (const version of [undefined, 3, 4] as const)
        assert.deepEqual(
          await findDeviations((...call) => askInside(gw, principal, call, version), { role, scopes, version: version ?? 4 }),
          [],
        );
    }
  });
}

test("in process, a lifecycle capability may call its own methods on its own session, and nothing else", async () => {
  await using gw = await startGateway();
  const own = "agent:main:subagent:own";
  const capability = lifecyclePrincipal(own);
  const said: string[] = [];

  for (const [name] of definitions) {
    for (const params of [malformed, {}, { key: "agent:main:subagent:other" }, { key: own }]) {
      if ((await askInside(gw, capability, [name, params])) === "passed") said.push(`${name} ${JSON.stringify(params)}`);
    }
  }

  assert.deepEqual(said, [`sessions.delete {"key":"${own}"}`]);
});

for (const credential of ["token", "deviceToken"] as const) {
  test(`over a socket, a device let in by its ${credential === "token" ? "gateway secret" : "device token"} is told what the table says`, async () => {
    await using gw = await startGateway();

    for (const scopes of subsets) {
      const key = createWireKey();
      await using paired = await connectWire(gw.url, { key, token: gw.token, scopes });
      const { deviceToken } = paired.hello["auth"] as { deviceToken: string };
      await using wire = await connectWire(gw.url, { key, scopes, ...(credential === "token" ? { token: gw.token } : { deviceToken }) });

      assert.deepEqual(await findDeviations((name, params) => askOver(wire, name, params), { role: "operator", scopes }), []);
    }
  });
}

test("over a socket, a node is told what the table says, and is let in with no scope of an operator's", async () => {
  await using gw = await startGateway();
  const key = createWireKey();
  await using paired = await connectWire(gw.url, { key, token: gw.token, role: "node" });
  const { deviceToken } = paired.hello["auth"] as { deviceToken: string };
  await using byToken = await connectWire(gw.url, { key, deviceToken, role: "node" });

  for (const wire of [paired, byToken])
    assert.deepEqual(await findDeviations((name, params) => askOver(wire, name, params), { role: "node", scopes: [] }), []);
  for (const scopes of subsets.filter((set) => set.length > 0)) {
    const { error } = await refusedConnect(gw.url, { key: createWireKey(), token: gw.token, role: "node", scopes });
    assert.equal(error.details?.["code"], "PAIRING_REQUIRED");
  }
});

test("over a socket, the secret without a device is told what the table says: on this machine with what it asked, from afar with nothing", async () => {
  await using gw = await startGateway(throughProxy);

  for (const scopes of subsets) {
    await using near = await connectWire(gw.url, { token: gw.token, scopes });
    await using far = await connectWire(gw.url, { token: gw.token, scopes }, proxy);

    assert.deepEqual(await findDeviations((name, params) => askOver(near, name, params), { role: "operator", scopes }), []);
    assert.deepEqual(await findDeviations((name, params) => askOver(far, name, params), { role: "operator", scopes: [] }), []);
  }
});

for (const role of ["run", "lifecycle", "admin", "", "__proto__"]) {
  test(`over a socket nobody is let in as ${JSON.stringify(role)}: those who act inside cannot be named from outside`, async () => {
    await using gw = await startGateway();

    const near = await refusedConnect(gw.url, { token: gw.token, role, scopes: inTable });
    const device = await refusedConnect(gw.url, { key: createWireKey(), token: gw.token, role, scopes: [] });

    assert.deepEqual([near.close.code, device.close.code], [1008, 1008]);
    assert.equal((await gw.callerWith("operator.read").call("status", {})).pairing.requestsCreated, 0);
  });
}

const httpMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** A path that the route serves. */
const examplePaths: Readonly<Record<string, string>> = {
  "/sessions/{key}/history": "/sessions/agent%3Amain%3Amain/history",
  "/v1/models/{id}": "/v1/models/openclaw",
  "/v1/models/{prefix}/{id}": "/v1/models/openclaw/main",
};
/** Of a path that takes a body: one that is understood, and changes nothing. */
const exampleBodies: Readonly<Record<string, object>> = {
  "/v1/responses": { model: "openclaw/nobody", input: "hi" },
  "/tools/invoke": { tool: "no_such_tool" },
  "/v1/chat/completions": { model: "openclaw/nobody", messages: [{ role: "user", content: "hi" }] },
};
const listed = Object.entries(routes).map(([path, route]) => ({ path: examplePaths[path] ?? path, route }));

test("over HTTP, every path and method is answered as the table of routes says, whatever is presented", async () => {
  await using gw = await startGateway();
  const origin = gw.url.replace(/^ws/, "http");
  const presented: readonly Record<string, string>[] = [{}, { authorization: `Bearer ${gw.token}` }];
  const unlisted = [
    "/",
    "/__proto__",
    "/constructor",
    "/health/x",
    "/healthzz",
    "/sessions",
    "/sessions//history",
    "/sessions/main/history/",
    "/sessions/main/__proto__",
    "/sessions/%E0%A4%A/history",
    "/sessions/{key}/history/x",
    "/v1/models/a/b/c",
    "/v1/chat",
    "/v1/chat/completions/x",
    "/metrics",
    ...Object.keys(methods).map((name) => `/${name}`),
  ];
  const expectations = [...listed, ...unlisted.filter((path) => !Object.hasOwn(routes, path)).map((path) => ({ path, route: undefined }))];
  const deviations: string[] = [];

  for (const { path, route } of expectations) {
    for (const method of httpMethods) {
      for (const headers of presented) {
        const { status } = await fetch(origin + path, { method, headers });
        // Without the body that it takes, a path says so to whoever may call it.
        const passed = route?.auth === "bearer" && route.maxBodyBytes > 0 ? 400 : 200;
        const admitted = route?.auth === "bearer" && !("authorization" in headers) ? 401 : passed;
        const said = route === undefined ? 404 : route.methods.some((one) => one === method) ? admitted : 405;
        if (status !== said) deviations.push(`${method} ${path}: ${status} instead of ${said}`);
      }
    }
  }

  assert.deepEqual(deviations, []);
});

test("over HTTP, a bearer with any scopes is told what the table says of the method behind each route", async () => {
  await using gw = await startGateway();
  const origin = gw.url.replace(/^ws/, "http");
  const owner = gw.callerWith("operator.admin");
  const doors = listed.flatMap(({ path, route }) => (route.auth === "bearer" ? [{ path, calls: route.calls }] : []));
  const deviations: string[] = [];

  for (const [index, scopes] of subsets.entries()) {
    const { token } = await owner.call("device.token.issue", { label: `bearer ${index}`, scopes: scopes as Scope[] });
    for (const { path, calls } of doors) {
      const body = exampleBodies[path];
      const sent = { method: body === undefined ? "GET" : "POST", ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
      const answer = await fetch(origin + path, { ...sent, headers: { authorization: `Bearer ${token}` } });
      const { error } = (await answer.json()) as { error?: { details: { code: string; missingScope: string } } };
      const verdict = answer.status === 200 ? "passed" : toVerdict(error?.details.code, error?.details.missingScope);
      const said = expected(findMethod(calls) ?? assert.fail(), { role: "operator", scopes });
      if (verdict !== said || (verdict === "passed") !== (answer.status === (body === undefined ? 200 : 404)))
        deviations.push(`${path} with [${scopes.join(" ")}]: ${answer.status} ${verdict} instead of ${said}`);
    }
  }

  assert.ok(doors.length > 0);
  assert.deepEqual(deviations, []);
});

test("a route that is not in the table does not compile, nor one without an answer, and neither is served", () => {
  const answer = () => Promise.resolve({ status: 200, body: "" });
  // The compiler is asked below; here the table names its own routes.
  const all = Object.fromEntries(Object.keys(routes).map((path) => [path, answer])) as unknown as Probes & RouteHandlers;
  // @ts-expect-error: the table does not have the route
  const extra: RouteHandlers = { ...all, "/secret": answer };
  // @ts-expect-error: routes of the table have no answer
  const missing: RouteHandlers = { "/v1/models": answer };
  // @ts-expect-error: probes of the table have no answer
  const missingProbe: Probes = { "/health": answer };

  assertListed(Object.keys(all));
  for (const served of [extra, missing, missingProbe]) assert.throws(() => assertListed(Object.keys(served)), /routes without a row/);
});
