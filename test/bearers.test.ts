/** Bearers over real HTTP: who gets in with what, what each holds, and that all of it ends when it is taken back. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { networkInterfaces } from "node:os";
import test, { after, before } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Scope } from "@portreeve/protocol";
import { createManualClock, type ManualClock } from "./support/manual-clock.ts";
import { script } from "./support/script.ts";
import { openHome } from "./support/cli.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, refusedConnect } from "./support/wire-client.ts";

type Headers = Readonly<Record<string, string>>;

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>> & { readonly error?: Readonly<Record<string, unknown>> };
}

let gw: TestGateway;
let clock: ManualClock;
/** One connection for all requests: what was proved on it before must not matter. */
const keptOpen = new Agent({ keepAlive: true, maxSockets: 1 });

before(async () => {
  clock = createManualClock();
  gw = await startGateway({ clock, config: { gateway: { trustedProxies: ["127.0.0.1"] } } });
  await gw.callerWith("operator.write").call("agent", { message: script("hello", { say: "hi" }), idempotencyKey: "first" });
});
after(async () => {
  keptOpen.destroy();
  await gw[Symbol.asyncDispose]();
});

interface Sent {
  readonly path?: string;
  readonly headers?: Headers;
  readonly body?: string;
  readonly agent?: Agent;
  readonly to?: TestGateway;
}

const history = "/sessions/main/history";

function ask(bearer: string | undefined, { path = history, headers = {}, body, agent, to = gw }: Sent = {}): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const authorization = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
  const sent = httpRequest(to.url.replace(/^ws/, "http") + path, { agent, headers: { ...authorization, ...headers } }, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    response.on("error", reject);
    response.on("end", () => {
      const isJson = String(response.headers["content-type"]).startsWith("application/json");
      const parsed = isJson ? (JSON.parse(text) as Reply["body"]) : { text };
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: parsed });
    });
  });
  sent.on("error", reject);
  sent.end(body);
  return promise;
}

/** A client from elsewhere, behind our proxy. */
function from(address: string, proto = "https"): Headers {
  return { "x-forwarded-for": address, "x-forwarded-proto": proto };
}

let names = 0;
async function issue(scopes: readonly Scope[], expiresInMinutes?: number) {
  names += 1;
  const time = expiresInMinutes === undefined ? {} : { expiresInMinutes };
  return await gw.callerWith("operator.admin").call("device.token.issue", { label: `bearer ${names}`, scopes: [...scopes], ...time });
}

const unauthorized = { error: { message: "Unauthorized", type: "unauthorized" } };
const statuses = (replies: readonly Reply[]): readonly number[] => replies.map(({ status }) => status);

test("on this machine the secret holds what the route needs; from elsewhere, and for a page, nothing", async () => {
  const here = await ask(gw.token);
  const away = await ask(gw.token, { headers: from("203.0.113.1") });
  const page = await ask(gw.token, { headers: { origin: "http://localhost:5173" } });

  assert.equal(here.status, 200);
  assert.equal(here.body["sessionKey"], "agent:main:main");
  assert.deepEqual(statuses([away, page]), [403, 403]);
  assert.deepEqual(
    [away.body["ok"], away.body.error?.["type"], away.body.error?.["message"]],
    [false, "forbidden", "missing scope: operator.read"],
  );
  assert.match(JSON.stringify(away.body), /devices token NAME --scopes operator\.read/);
});

test("without a credential, or with one of another kind, nothing is told and nothing counted", async () => {
  const replies = [
    await ask(undefined),
    await ask(undefined, { headers: { authorization: `Basic ${gw.token}` } }),
    await ask(undefined, { headers: { authorization: "Bearer " } }),
    await ask(undefined, { path: `${history}?token=${gw.token}` }),
  ];

  for (const { status, headers, body } of replies) {
    assert.deepEqual([status, body], [401, unauthorized]);
    assert.equal(headers["www-authenticate"], 'Bearer realm="portreeve"');
  }
  assert.equal(await gw.gateway.store.attempts.count(), 0);
});

test("a bearer holds exactly what it was issued with, also from elsewhere", async () => {
  const [reader, writer, none] = [await issue(["operator.read"]), await issue(["operator.write"]), await issue([])];

  const replies = await Promise.all([reader, writer, none].map(({ token }) => ask(token, { headers: from("203.0.113.2") })));
  const { paired } = await gw.callerWith("operator.pairing").call("device.pair.list", {});
  const listed = paired.find(({ deviceId }) => deviceId === reader.deviceId);

  assert.deepEqual(statuses(replies), [200, 200, 403]);
  assert.deepEqual([reader.scopes, listed?.scopes, listed?.approvedVia], [["operator.read"], ["operator.read"], "bearer"]);
  assert.deepEqual(listed?.lastSeenAtMs, clock.now());
});

test("invariant 9 and 12 over HTTP: what a request says of its scopes takes away, and nothing it says adds", async () => {
  const { token } = await issue(["operator.talk"]);
  const writer = await issue(["operator.write"]);
  const claims = {
    "x-openclaw-scopes": "operator.admin, operator.read",
    "user-agent": "openclaw-control-ui",
    "x-openclaw-agent-id": "main",
  };
  const said = (scopes: string): Sent => ({ headers: { "x-openclaw-scopes": scopes } });

  const widened = [await ask(token, { headers: claims }), await ask(gw.token, { headers: { ...claims, ...from("203.0.113.3") } })];
  const narrowed = [
    await ask(writer.token, said("operator.read")),
    await ask(writer.token, said("operator.talk")),
    await ask(writer.token, said("")),
    await ask(gw.token, said("operator.pairing")),
  ];

  assert.deepEqual(statuses(widened), [403, 403]);
  assert.deepEqual(statuses(narrowed), [200, 403, 403, 403]);
});

test("invariant 10 over HTTP: every request is judged afresh, also on a connection that stays open", async () => {
  const owner = gw.callerWith("operator.admin");
  const { deviceId, token } = await issue(["operator.read", "operator.talk"]);
  const over = { agent: keptOpen };
  const first = await ask(token, over);

  const rotated = await owner.call("device.token.rotate", { deviceId, role: "operator" });
  const [old, next] = [await ask(token, { ...over, headers: from("203.0.113.4") }), await ask(rotated.token, over)];
  const narrowed = await owner.call("device.token.rotate", { deviceId, role: "operator", scopes: ["operator.talk"] });
  const less = await ask(narrowed.token, over);
  await owner.call("device.token.revoke", { deviceId, role: "operator" });
  const revoked = await ask(narrowed.token, { ...over, headers: from("203.0.113.4") });
  const other = await issue(["operator.read"]);
  const before = await ask(other.token, over);
  await owner.call("device.pair.remove", { deviceId: other.deviceId });
  const removed = await ask(other.token, { ...over, headers: from("203.0.113.4") });

  assert.deepEqual(statuses([first, old, next, less, revoked, before, removed]), [200, 401, 200, 403, 401, 200, 401]);
});

test("a bearer for a time is right after it, and holds nothing", async () => {
  const { token, expiresAtMs } = await issue(["operator.read"], 10);

  clock.jump(9 * 60_000);
  const during = await ask(token);
  clock.jump(60_000);
  const over = await ask(token);

  assert.equal(expiresAtMs, clock.now());
  assert.deepEqual(statuses([during, over]), [200, 403]);
});

test("the token of a device with a key is no bearer: without its signature it opens nothing", async () => {
  const tokenOf = async (role: string, scopes: readonly string[]): Promise<string> => {
    await using wire = await connectWire(gw.url, { key: createWireKey(), token: gw.token, role, scopes, signedAt: clock.now() });
    return (wire.hello["auth"] as { deviceToken: string }).deviceToken;
  };
  const tokens = [await tokenOf("operator", ["operator.read"]), await tokenOf("node", [])];

  for (const token of tokens) assert.deepEqual((await ask(token, { headers: from("203.0.113.5") })).body, unauthorized);
});

test("nobody can connect as a bearer: its key is nobody's", async () => {
  const { deviceId, token } = await issue(["operator.read"]);
  const key = createWireKey();
  const scopes = ["operator.read"];

  const named = await refusedConnect(gw.url, { key: { ...key, id: deviceId }, deviceToken: token, scopes, signedAt: clock.now() });
  const bare = await refusedConnect(gw.url, { deviceToken: token, scopes });

  assert.equal(named.error.details?.["code"], "DEVICE_AUTH_DEVICE_ID_MISMATCH");
  assert.equal(bare.error.details?.["code"], "DEVICE_IDENTITY_REQUIRED");
});

test("a token that could be read on the way is refused, right or wrong", async () => {
  const { token } = await issue(["operator.read"]);
  const plain = { headers: from("203.0.113.6", "http") };

  const [right, wrong] = [await ask(token, plain), await ask("wrong", plain)];
  const unsaid = await ask(token, { headers: { "x-forwarded-for": "203.0.113.6" } });
  const twice = await ask(token, { headers: from("203.0.113.6", "http, https") });

  assert.deepEqual(statuses([right, wrong, unsaid, twice]), [403, 403, 403, 403]);
  assert.deepEqual([right.body.error?.["type"], right.body], ["tls_required", wrong.body]);
});

test("Origin, Host and proxy headers are judged before any credential", async () => {
  const { token } = await issue(["operator.read"]);
  await using unproxied = await startGateway();

  const foreign = await ask(token, { headers: { origin: "https://evil.example" } });
  const rebound = await ask(token, { headers: { host: "evil.example" } });
  const proxied = await ask(unproxied.token, { to: unproxied, headers: from("203.0.113.7") });

  assert.deepEqual(
    [foreign, rebound, proxied].map(({ status, body }) => [status, body.error?.["type"]]),
    [
      [403, "origin_not_allowed"],
      [421, "misdirected_request"],
      [403, "proxy_attribution_required"],
    ],
  );
});

test("ten wrong ones lock a peer out, over a restart too and on the socket as well; a right bearer passes", async () => {
  const { token } = await issue(["operator.read"]);
  const peer = { headers: from("203.0.113.8") };
  const tried: Reply[] = [];

  for (let count = 0; count < 10; count += 1) tried.push(await ask(`wrong ${count}`, peer));
  const eleventh = await ask("wrong", peer);
  await gw.restart();
  const secret = await ask(gw.token, peer);
  const overSocket = await refusedConnect(gw.url, { token: gw.token }, peer.headers);
  const [passed, neighbour] = [await ask(token, peer), await ask(gw.token, { headers: from("203.0.113.9") })];
  clock.jump(300_000);
  const later = await ask(gw.token, peer);

  assert.deepEqual([...new Set(statuses(tried))], [401]);
  assert.deepEqual(statuses([eleventh, secret, passed, neighbour, later]), [429, 429, 200, 403, 403]);
  assert.equal(eleventh.headers["retry-after"], "300");
  assert.deepEqual([eleventh.body.error?.["type"], eleventh.body.error?.["retryAfterMs"]], ["rate_limited", 300_000]);
  assert.equal(overSocket.error.details?.["code"], "AUTH_RATE_LIMITED");
});

test("the pages of this machine are locked out together; a program only waits, and is let in afterwards", async () => {
  const page = { headers: { origin: "http://localhost:5173" } };
  for (let count = 0; count < 10; count += 1) await ask("wrong", page);

  const pageAgain = await ask("wrong", page);
  let left = 12;
  const wrongs = Array.from({ length: left }, () => ask("wrong").finally(() => (left -= 1)));
  while (left > 0) {
    await setImmediate();
    clock.advance(5_000);
  }
  const programs = await Promise.all(wrongs);
  const right = await ask(gw.token);

  assert.equal(pageAgain.status, 429);
  assert.deepEqual([...new Set(statuses(programs))], [401]);
  assert.equal(right.status, 200);
});

test("beyond thirty-two attempts of a peer that are held back, neither a guess nor the secret is looked at; a bearer is", async () => {
  const { token } = await issue(["operator.read"]);
  let held = 33;
  const guesses = Array.from({ length: held }, () => ask("wrong").finally(() => (held -= 1)));
  const first = await Promise.race(guesses);

  const [secret, bearer] = [await ask(gw.token), await ask(token)];
  while (held > 0) {
    await setImmediate();
    clock.advance(5_000);
  }

  assert.deepEqual([first.status, first.body.error?.["type"]], [503, "too_many_attempts"]);
  assert.deepEqual(statuses([secret, bearer]), [503, 200]);
  assert.equal(statuses(await Promise.all(guesses)).filter((status) => status === 401).length, 32);
});

test("a hundred requests at once with the right secret are all let in", async () => {
  const replies = await Promise.all(Array.from({ length: 100 }, () => ask(gw.token)));

  assert.deepEqual([...new Set(statuses(replies))], [200]);
});

test("a body is refused before it is read, said or not said how long", async () => {
  const said = await ask(gw.token, { body: "x", headers: { "content-length": "1" } });
  const unsaid = await ask(gw.token, { body: "x".repeat(100_000), headers: { "transfer-encoding": "chunked" } });
  const stranger = await ask(undefined, { body: "x", headers: { "content-length": "1" } });

  assert.deepEqual(statuses([said, unsaid, stranger]), [413, 413, 401]);
  assert.equal(said.headers["connection"], "close");
});

test("a session's history comes in pages, the newest first, under both names that clients read", async () => {
  const whole = await ask(gw.token);
  const newest = await ask(gw.token, { path: `${history}?limit=1` });
  const older = await ask(gw.token, { path: `${history}?limit=1&cursor=${String(newest.body["nextCursor"])}` });
  const unknown = await ask(gw.token, { path: "/sessions/agent%3Amain%3Anobody/history" });
  const bad = [
    await ask(gw.token, { path: `${history}?limit=many` }),
    await ask(gw.token, { path: `${history}?cursor=-1` }),
    await ask(gw.token, { path: "/sessions/agent%3Anobody%3Ax/history" }),
  ];

  const messages = whole.body["messages"] as readonly unknown[];
  assert.deepEqual([messages.length, whole.body["items"], whole.body["hasMore"]], [2, messages, false]);
  assert.deepEqual([newest.body["messages"], newest.body["hasMore"]], [messages.slice(1), true]);
  assert.deepEqual([older.body["messages"], older.body["hasMore"], older.body["nextCursor"]], [messages.slice(0, 1), false, undefined]);
  assert.deepEqual([unknown.status, unknown.body["messages"]], [200, []]);
  assert.deepEqual(
    bad.map(({ status, body }) => [status, body.error?.["type"]]),
    [
      [400, "invalid_request_error"],
      [400, "invalid_request_error"],
      [404, "not_found"],
    ],
  );
});

test("the agents are listed as models, and each is found by its id, written either way", async () => {
  const list = await ask(gw.token, { path: "/v1/models" });
  const found = [
    await ask(gw.token, { path: "/v1/models/openclaw" }),
    await ask(gw.token, { path: "/v1/models/openclaw/main" }),
    await ask(gw.token, { path: "/v1/models/openclaw%2Fdefault" }),
  ];
  const missing = await ask(gw.token, { path: "/v1/models/openclaw/nobody" });

  const data = list.body["data"] as readonly { id: string }[];
  assert.equal(list.body["object"], "list");
  assert.deepEqual(
    data.map(({ id }) => id),
    ["openclaw", "openclaw/default", "openclaw/main"],
  );
  assert.deepEqual(
    found.map(({ body }) => body),
    [data[0], data[2], data[1]],
  );
  assert.deepEqual([missing.status, missing.body.error?.["message"]], [404, "Invalid model id."]);
});

test("only admin issues bearers, within what it holds and for as long; each is audited, and a name is given once", async () => {
  const key = createWireKey();
  const connect = (scopes: readonly string[]) => ({ key, token: gw.token, scopes, signedAt: clock.now() });
  await using reader = await connectWire(gw.url, connect(["operator.read"]));
  const { error } = await refusedConnect(gw.url, connect(["operator.admin"]));
  const requestId = String(error.details?.["requestId"]);
  await gw.callerWith("operator.admin").call("device.pair.approve", { requestId, expiresInMinutes: 10 });
  await using elevated = await connectWire(gw.url, connect(["operator.admin"]));
  const params = { label: "of a guest", scopes: ["operator.write"] };

  const answers = [
    await reader.request("device.token.issue", params),
    await elevated.request("device.token.issue", params),
    await elevated.request("device.token.issue", { ...params, expiresInMinutes: 11 }),
    await elevated.request("device.token.issue", { ...params, expiresInMinutes: 9 }),
    await elevated.request("device.token.issue", { ...params, expiresInMinutes: 9 }),
    await elevated.request("device.token.issue", { ...params, label: "x", scopes: ["operator.everything"] }),
  ];
  const [row] = await gw.gateway.store.audit.list(1, { kind: "device.bearer-issued" });

  assert.deepEqual(
    answers.map((answer) => answer.error?.details?.["missingScope"] ?? answer.error?.details?.["code"] ?? "issued"),
    ["operator.admin", "operator.write", "operator.write", "issued", "INVALID_PARAMS", "INVALID_PARAMS"],
  );
  assert.match(answers[4]?.error?.message ?? "", /has this name already/);
  assert.deepEqual(
    [row?.actor, row?.subject, row?.facts["scopes"]],
    [`device:${key.id}`, answers[3]?.payload?.["deviceId"], ["operator.write"]],
  );
  assert.doesNotMatch(JSON.stringify([row, gw.logLines]), new RegExp(String(answers[3]?.payload?.["token"])));
});

test("where no secret is asked for, nothing presented holds nothing, and what is presented must be right", async () => {
  await using open = await startGateway({ config: { gateway: { auth: { mode: "none" } } } });
  const { token } = await open.callerWith("operator.admin").call("device.token.issue", { label: "b", scopes: ["operator.read"] });
  const page = { headers: { origin: "http://localhost:5173" } };

  const replies = [undefined, open.token, "wrong", token].map((bearer) => ask(bearer, { to: open }));

  assert.deepEqual(statuses(await Promise.all(replies)), [403, 401, 401, 200]);
  assert.equal((await ask(token, { to: open, ...page })).body.error?.["type"], "origin_not_allowed");
  assert.equal(await open.gateway.store.attempts.count(), 0);
});

test("behind a trusted proxy its user alone holds nothing, a bearer what it was issued with, and nobody else comes in", async () => {
  const trustedProxy = { userHeader: "x-user", allowUsers: ["ada"], allowLoopback: true };
  const auth = { mode: "trusted-proxy", trustedProxy };
  await using behind = await startGateway({ config: { gateway: { auth, trustedProxies: ["127.0.0.1"] } } });
  const { token } = await behind.callerWith("operator.admin").call("device.token.issue", { label: "b", scopes: ["operator.read"] });
  const as = (user: string): Sent => ({ to: behind, headers: { ...from("203.0.113.1"), "x-user": user } });

  const user = await ask(undefined, as("ada"));
  const [bearer, secret] = [await ask(token, as("ada")), await ask(behind.token, as("ada"))];
  const [stranger, local] = [await ask(token, as("eve")), await ask(behind.token, { to: behind })];

  assert.deepEqual(statuses([user, bearer, secret, stranger, local]), [403, 200, 401, 401, 200]);
});

const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;
const skip = outside === undefined && "this machine has no address but loopback";

test("from another machine a bearer opens what it may over TLS, and nothing over plain text", { skip }, async () => {
  const tls = { bind: "lan", tls: { mode: "generated" } };
  const plain = { bind: "lan", tls: { insecurePlaintext: true } };
  const replies: [name: string, status: number][] = [];

  for (const [name, gateway] of Object.entries({ tls, plain })) {
    await using served = await startGateway({ config: { gateway } });
    const { token } = await served.callerWith("operator.admin").call("device.token.issue", { label: "b", scopes: ["operator.read"] });
    const port = String(served.gateway.listener.port);
    const to = { host: outside, port, path: "/v1/models", headers: { authorization: `Bearer ${token}` }, agent: false } as const;
    const sent = name === "tls" ? httpsRequest({ ...to, rejectUnauthorized: false }) : httpRequest(to);
    const [response] = (await once(sent.end(), "response")) as [IncomingMessage];
    response.resume();
    replies.push([name, response.statusCode ?? 0]);
  }

  assert.deepEqual(replies, [
    ["tls", 200],
    ["plain", 403],
  ]);
});

test("the command line makes a bearer, lists it, says why it is there, replaces it and ends it", async () => {
  await using home = await openHome();
  const url = home.gateway.url.replace(/^ws/, "http");
  const models = async (token: string): Promise<number> =>
    (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })).status;

  const shown = await home.cli(["devices", "token", "ci"]);
  const [, token = "", id = ""] = /^Token +(\S{43})\nDevice +ci \(([0-9a-f]{8})\)\nMay +read\n/.exec(shown.out) ?? [];
  const again = await home.cli(["devices", "token", "ci", "--scopes", "operator.write"]);
  const listed = await home.cli(["devices"]);
  const why = await home.cli(["why", JSON.parse((await home.cli(["devices", "--json"])).out).paired.find(isBearer).deviceId]);
  const before = await models(token);
  const unseen = await home.cli(["devices", "rotate", id]);
  const rotated = await home.cli(["devices", "rotate", id, "--json"]);
  const next = JSON.parse(rotated.out).token as string;
  const after = [await models(token), await models(next)];
  await home.cli(["devices", "remove", id]);
  const timed = JSON.parse((await home.cli(["devices", "token", "ci", "--scopes", "operator.read", "--minutes", "5", "--json"])).out);

  assert.equal(shown.code, 0, shown.err);
  assert.match(again.err, new RegExp(`label: the bearer ${id} has this name already.*devices remove ${id}`, "s"));
  assert.match(listed.out, /ci +bearer, platform unknown +read .*by hand, as a bearer/);
  assert.match(unseen.out, /Nobody has it\. .*rotate again with --json/);
  assert.match(why.out, /device\.bearer-issued/);
  assert.deepEqual([before, after, await models(next)], [200, [401, 200], 401]);
  assert.deepEqual([timed.label, timed.scopes, await models(timed.token)], ["ci", ["operator.read"], 200]);
  assert.ok(timed.expiresAtMs > Date.now());
});

function isBearer({ approvedVia }: { readonly approvedVia: string }): boolean {
  return approvedVia === "bearer";
}
