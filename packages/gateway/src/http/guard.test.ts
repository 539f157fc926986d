import assert from "node:assert/strict";
import test from "node:test";
import { type Arrival, type DoorConfig, guard, type OriginVerdict } from "./guard.ts";

const config: DoorConfig = {
  bind: "loopback",
  publicUrl: undefined,
  trustedProxies: [],
  allowedOrigins: [],
  auth: { mode: "token" },
  tls: { mode: "off" },
};
const behindProxy: DoorConfig = { ...config, publicUrl: "https://gate.example/", trustedProxies: ["192.0.2.1", "2001:db8::1"] };

function arrival(headers: Arrival["headers"] = {}, remoteAddress = "127.0.0.1"): Arrival {
  return {
    remoteAddress,
    localAddress: "192.0.2.10",
    localPort: 18_789,
    isEncrypted: false,
    headers: { host: "127.0.0.1:18789", ...headers },
  };
}

const peers: readonly [name: string, arrival: Arrival, config: DoorConfig, address: string, directLoopback: boolean][] = [
  ["a local socket is direct", arrival(), config, "127.0.0.1", true],
  ["a local socket in IPv6 form is direct", arrival({}, "::ffff:127.0.0.1"), config, "127.0.0.1", true],
  ["an IPv6 local socket is direct", arrival({}, "::1"), config, "::1", true],
  ["another loopback address is direct", arrival({}, "127.8.8.8"), config, "127.8.8.8", true],
  ["a remote socket is not direct, whatever its Host says", arrival({ host: "localhost" }, "192.0.2.7"), config, "192.0.2.7", false],
  ["a trusted proxy's client counts", arrival({ "x-forwarded-for": "192.0.2.7" }, "192.0.2.1"), behindProxy, "192.0.2.7", false],
  [
    "a client behind a proxy is not local, whatever the proxy forwards",
    arrival({ "x-forwarded-for": "127.0.0.1" }, "192.0.2.1"),
    behindProxy,
    "127.0.0.1",
    false,
  ],
  [
    "what a client wrote itself does not count",
    arrival({ "x-forwarded-for": "127.0.0.1, 192.0.2.7, 192.0.2.1" }, "192.0.2.1"),
    behindProxy,
    "192.0.2.7",
    false,
  ],
  ["an address that is none does not count", arrival({ "x-forwarded-for": "localhost" }, "192.0.2.1"), behindProxy, "192.0.2.1", false],
  [
    "an IPv6 client with a port counts",
    arrival({ "x-forwarded-for": "[2001:DB8:0::7]:443" }, "2001:db8:0::1"),
    behindProxy,
    "2001:db8::7",
    false,
  ],
  ["a real-ip header counts", arrival({ "x-real-ip": "192.0.2.7" }, "192.0.2.1"), behindProxy, "192.0.2.7", false],
  [
    "a trusted proxy on this machine with headers is not direct",
    arrival({ "x-forwarded-proto": "https" }),
    { ...config, trustedProxies: ["127.0.0.1"] },
    "127.0.0.1",
    false,
  ],
];

for (const [name, request, settings, address, directLoopback] of peers) {
  test(name, () => {
    const passage = guard(request, settings, false);

    const { isConfidential: _, ...peer } = passage.kind === "passed" ? passage.peer : { address: passage.kind, isConfidential: false };
    assert.deepEqual(peer, { address, directLoopback });
  });
}

const proxied = (proto: Arrival["headers"][string], remoteAddress = "192.0.2.1"): Arrival =>
  arrival({ "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": proto }, remoteAddress);
const readers: readonly [name: string, arrival: Arrival, isConfidential: boolean][] = [
  ["a local program", arrival(), true],
  ["a remote peer without TLS", arrival({}, "192.0.2.7"), false],
  ["a remote peer over TLS", { ...arrival({}, "192.0.2.7"), isEncrypted: true }, true],
  ["a client of our proxy over TLS", proxied("https"), true],
  ["a client of our proxy without TLS", proxied("http"), false],
  ["a client of our proxy that says nothing, though the proxy itself uses TLS", { ...proxied(undefined), isEncrypted: true }, false],
  ["a client that wrote the header itself before our proxy added its own", proxied("https, http"), false],
];

for (const [name, request, isConfidential] of readers) {
  test(`${name} ${isConfidential ? "can" : "cannot"} send what nobody else may read`, () => {
    const passage = guard(request, behindProxy, false);

    assert.equal(passage.kind === "passed" && passage.peer.isConfidential, isConfidential);
  });
}

for (const header of [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-real-ip",
  "via",
  "tailscale-user-login",
]) {
  test(`${header} from a peer that is no trusted proxy is refused, except for a probe`, () => {
    const request = arrival({ [header]: "127.0.0.1" });

    const [refused, probe] = [guard(request, config, false), guard(request, config, true)];

    assert.deepEqual(refused.kind === "refused" ? [refused.status, refused.error.type] : refused, [403, "proxy_attribution_required"]);
    assert.deepEqual(probe, {
      kind: "passed",
      peer: { address: "127.0.0.1", directLoopback: false, isConfidential: false },
      origin: "none",
    });
  });
}

const lan: DoorConfig = { ...config, bind: "lan" };
const hosts: readonly [host: string | undefined, config: DoorConfig, allowed: boolean][] = [
  ["127.0.0.1:18789", config, true],
  ["localhost", config, true],
  ["LOCALHOST:1", config, true],
  ["[::1]:18789", config, true],
  ["192.0.2.10:18789", config, false],
  ["192.0.2.10:18789", lan, true],
  ["192.0.2.10", { ...config, bind: "192.0.2.10" }, true],
  ["192.0.2.11", lan, false],
  ["gate.example", behindProxy, true],
  ["gate.example:8443", behindProxy, true],
  ["gate.example", config, false],
  ["evil.example:18789", lan, false],
  ["localhost.evil.example", config, false],
  ["127.0.0.1.evil.example", config, false],
  ["127.0.0.1@evil.example", config, false],
  ["", config, false],
  [undefined, config, false],
];

for (const [host, settings, allowed] of hosts) {
  test(`a request for the Host ${host ?? "(none)"} is ${allowed ? "served" : "refused"} when bound to ${settings.bind}${settings.publicUrl === undefined ? "" : " behind a public URL"}`, () => {
    const passage = guard({ ...arrival(), headers: host === undefined ? {} : { host } }, settings, false);

    assert.deepEqual(
      passage.kind === "refused" ? [passage.status, passage.error.type] : "passed",
      allowed ? "passed" : [421, "misdirected_request"],
    );
  });
}

const origins: readonly [origin: string | undefined, remoteAddress: string, config: DoorConfig, verdict: OriginVerdict][] = [
  [undefined, "127.0.0.1", config, "none"],
  ["http://localhost:5173", "127.0.0.1", config, "allowed"],
  ["http://127.0.0.1:18789", "127.0.0.1", config, "allowed"],
  ["http://[::1]:18789", "127.0.0.1", config, "allowed"],
  ["http://127.0.0.1:18789", "192.0.2.7", config, "foreign"],
  ["https://evil.example", "127.0.0.1", config, "foreign"],
  ["http://localhost.evil.example", "127.0.0.1", config, "foreign"],
  ["null", "127.0.0.1", config, "foreign"],
  ["", "127.0.0.1", config, "foreign"],
  ["file://", "127.0.0.1", config, "foreign"],
  ["http://localhost/path", "127.0.0.1", config, "foreign"],
  ["https://gate.example", "192.0.2.1", behindProxy, "allowed"],
  ["http://gate.example", "192.0.2.1", behindProxy, "foreign"],
  ["https://gate.example:8443", "192.0.2.1", behindProxy, "foreign"],
  ["http://192.0.2.10:18789", "192.0.2.7", lan, "allowed"],
  ["http://192.0.2.10:80", "192.0.2.7", lan, "foreign"],
  ["https://ui.example", "192.0.2.7", { ...lan, allowedOrigins: ["https://ui.example/"] }, "allowed"],
  ["https://ui.example.evil", "192.0.2.7", { ...lan, allowedOrigins: ["https://ui.example/"] }, "foreign"],
];

for (const [origin, remoteAddress, settings, verdict] of origins) {
  test(`a page of ${origin ?? "no origin"} at ${remoteAddress} is ${verdict} when bound to ${settings.bind}`, () => {
    const passage = guard(arrival(origin === undefined ? {} : { origin }, remoteAddress), settings, false);

    assert.equal(passage.kind === "passed" ? passage.origin : passage, verdict);
  });
}

const open: DoorConfig = { ...config, allowedOrigins: ["https://app.example"], publicUrl: "https://gate.example", auth: { mode: "none" } };

test("in mode none only the gateway's own pages are let in", () => {
  const origins = [
    "http://127.0.0.1:18789",
    "http://localhost:18789",
    "https://gate.example",
    "http://localhost:5173",
    "http://127.0.0.1",
    "https://app.example",
  ];

  const verdicts = origins.map((origin) => {
    const passage = guard(arrival({ origin }), open, false);
    return passage.kind === "passed" ? passage.origin : passage.kind;
  });

  assert.deepEqual(verdicts, ["allowed", "allowed", "allowed", "foreign", "foreign", "foreign"]);
});

test("a proxy's user is read where a proxy is asked for, and only there", () => {
  const trustedProxy = { userHeader: "x-user", requiredHeaders: [], allowUsers: [], allowLoopback: false };
  const proxied: DoorConfig = { ...behindProxy, auth: { mode: "trusted-proxy", trustedProxy } };
  const headers = { host: "gate.example", "x-user": "ada", "x-forwarded-for": "192.0.2.7" };
  const proxyOf = (from: Arrival, settings: DoorConfig): unknown => {
    const passage = guard(from, settings, false);
    return passage.kind === "passed" ? passage.peer.proxy : passage.error.type;
  };

  assert.deepEqual(proxyOf(arrival(headers, "192.0.2.1"), proxied), { kind: "identified", user: "ada" });
  assert.equal(proxyOf(arrival(headers, "192.0.2.9"), proxied), "proxy_attribution_required");
  assert.equal(proxyOf(arrival(headers, "192.0.2.1"), behindProxy), undefined);
});
