/** Being on this machine, or seeming to be, is no authority. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { dumpPairing } from "../support/stored-pairing.ts";
import { connectWire, createWireKey, openWire, refusedConnect } from "../support/wire-client.ts";
import { advisory, fromRemote, httpUrl, shareGateway } from "./advisory.ts";

const shared = shareGateway();

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Another address of this machine than the trusted proxy's. */
  readonly localAddress?: string;
}

/** One HTTP request; answers status and body, also of an upgrade that is refused. */
function ask(
  path: string,
  { method = "GET", headers = {}, localAddress }: Ask,
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(httpUrl(shared.gateway, path), {
      method,
      headers,
      agent: false,
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    sent.once("error", reject);
    sent.once("upgrade", (_response, socket) => {
      socket.destroy();
      resolve({ status: 101, body: "" });
    });
    sent.once("response", (response) => {
      let body = "";
      response.on("data", (chunk) => (body += String(chunk)));
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.end();
  });
}

const upgrade = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

advisory(28, "whoever pretends to be local through a proxy gets neither a pairing nor a token", async () => {
  const { gateway } = shared;
  const disguises: readonly Readonly<Record<string, string>>[] = [
    { "x-forwarded-for": "127.0.0.1" },
    { "x-forwarded-for": "127.0.0.1, 203.0.113.7" },
    { "x-forwarded-for": "::1" },
    { "x-forwarded-for": "localhost" },
    { "x-forwarded-for": "" },
    { "x-real-ip": "127.0.0.1", host: "localhost" },
    { forwarded: "for=127.0.0.1;host=localhost" },
    { via: "1.1 localhost" },
    { "x-forwarded-host": "127.0.0.1", "x-forwarded-for": "203.0.113.7" },
  ];

  for (const headers of disguises) {
    const client = { id: "gateway-client", mode: "backend", displayName: "localhost" };
    const asked = { key: createWireKey(), client, token: gateway.token, scopes: ["operator.admin"] };
    const { error } = await refusedConnect(gateway.url, asked, headers);

    assert.equal(error.details?.["code"], "PAIRING_REQUIRED", JSON.stringify(headers));
    assert.ok(!JSON.stringify(error).includes("deviceToken"));
  }
  assert.match(dumpPairing(gateway.stateDir), /^devices: \[\]$/m);
});

advisory(30, "a header that names a user of a private network lets nobody in, on no route", async () => {
  const { gateway } = shared;
  const identity = { "tailscale-user-login": "owner@example.com", "tailscale-user-name": "Owner" };

  const statuses = await Promise.all([
    ask("/", { headers: identity, localAddress: "127.0.0.2" }),
    ask("/api/sessions", { headers: identity, localAddress: "127.0.0.2" }),
    ask("/", { headers: { ...identity, ...upgrade }, localAddress: "127.0.0.2" }),
  ]);
  const { error } = await refusedConnect(gateway.url, { scopes: ["operator.admin"] }, identity);

  assert.deepEqual(
    statuses.map(({ status }) => status),
    [403, 403, 403],
  );
  assert.equal(error.details?.["code"], "DEVICE_IDENTITY_REQUIRED");
});

advisory(31, "behind a proxy on this machine, a request from elsewhere is told no more than a stranger", async () => {
  const direct = await ask("/readyz", {});
  const proxied = await ask("/readyz", { headers: fromRemote });
  const unknownProxy = await ask("/readyz", { headers: fromRemote, localAddress: "127.0.0.2" });

  assert.deepEqual(Object.keys(JSON.parse(direct.body) as object), ["ready", "failing", "uptimeMs"]);
  assert.deepEqual([JSON.parse(proxied.body), JSON.parse(unknownProxy.body)], [{ ready: true }, { ready: true }]);
});

advisory(32, "an address that the client forged in front of the proxy's does not count as another peer", async () => {
  const { gateway } = shared;
  const headers = (index: number): Record<string, string> => ({ "x-forwarded-for": `127.0.0.${index}, 10.0.0.${index}, 203.0.113.9` });
  const held = await Promise.all(Array.from({ length: 32 }, (_, index) => openWire(gateway.url, headers(index))));

  await assert.rejects(openWire(gateway.url, headers(99)), /HTTP 503/);
  await using other = await openWire(gateway.url, { "x-forwarded-for": "203.0.113.10" });
  for (const wire of held) await wire[Symbol.asyncDispose]();

  assert.notEqual(other.nonce, "");
  assert.equal((await ask("/", { headers: headers(1), localAddress: "127.0.0.2" })).status, 403);
});

advisory(33, "a page of another site gets nothing from a gateway on its reader's machine, even with the secret", async () => {
  const { gateway } = shared;
  const key = createWireKey();
  const before = dumpPairing(gateway.stateDir);

  for (const origin of [
    "https://attacker.example",
    "null",
    "http://localhost.attacker.example",
    "http://127.0.0.1.attacker.example:18789",
  ]) {
    const { error } = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: ["operator.admin"] }, { origin });
    assert.equal(error.details?.["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED", origin);
  }
  const guessed = await refusedConnect(
    gateway.url,
    { key, token: "guess", scopes: ["operator.admin"] },
    { origin: "http://localhost:3000" },
  );

  assert.equal(guessed.error.details?.["code"], "AUTH_TOKEN_MISMATCH");
  assert.equal(dumpPairing(gateway.stateDir), before);
});

advisory(39, "no request a page can make without a preflight changes anything", async () => {
  const { gateway } = shared;
  await using own = await connectWire(gateway.url, { token: gateway.token, scopes: ["operator.read"] });
  const before = dumpPairing(gateway.stateDir);
  const headers = { origin: "https://attacker.example", "content-type": "text/plain" };

  // Paths that take a POST refuse the page; whatever else is asked for is not there.
  const doors = ["/tools/invoke", "/v1/chat/completions", "/v1/responses"];
  for (const path of ["/", "/health", "/readyz", "/sessions/main/delete", "/api/config", ...doors]) {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const { status } = await ask(path, { method, headers });
      const refusals = doors.includes(path) && method === "POST" ? [403] : [404, 405];
      assert.ok(refusals.includes(status), `${method} ${path}: ${status}`);
    }
  }
  const rebound = await ask("/health", { headers: { host: "attacker.example" } });

  assert.equal(rebound.status, 421);
  assert.equal(dumpPairing(gateway.stateDir), before);
  assert.equal((await own.request("status")).ok, true);
});
