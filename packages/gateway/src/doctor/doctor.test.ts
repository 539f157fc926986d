import assert from "node:assert/strict";
import test from "node:test";
import type { DeviceRecord, DeviceState, PairingRecord } from "../store/device-store.ts";
import { hasTls } from "./config-checks.ts";
import { diagnose } from "./doctor.ts";
import type { ConfigFacts, DoctorFacts, FolderFacts, StoreFacts } from "./facts.ts";

const nowMs = Date.UTC(2026, 5, 1);
const all = ["operator.admin", "operator.pairing"];
const own = { deviceId: "d".repeat(64), scopes: all, tokensFile: "/home/me/my tokens.json" };

const folder: Extract<FolderFacts, { kind: "read" }> = {
  kind: "read",
  modeProblems: [],
  foreign: [],
  keyProblems: [],
  missingKeys: [],
  newestMs: nowMs,
};
const config: { kind: "read" } & ConfigFacts = {
  kind: "read",
  startProblem: undefined,
  holdsSecret: false,
  modeProblem: undefined,
  bind: "loopback",
  publicUrl: undefined,
  hasTls: false,
  allowedOrigins: [],
  trustedProxies: [],
  secretLength: undefined,
  models: [{ agentId: "main", model: "scripted/scripted", problem: undefined }],
  unusableFallbacks: [],
  missingWorkspaces: [],
};
const store: { kind: "read" } & StoreFacts = {
  kind: "read",
  integrityProblems: [],
  unknownMigrations: [],
  missingMigrations: [],
  newestMigration: "001-first",
  deviceIds: [],
  unleasedRuns: [],
  unreadResults: [],
  unconfirmedResults: [],
  newestMs: nowMs,
  chain: { rows: 3, head: { seq: 3, hash: "h" }, firstBreak: undefined },
  devices: [],
  pending: [],
  danglingRows: [],
  brokenJournals: [],
};
const healthy: DoctorFacts = {
  nowMs,
  configFile: "/h/config.json5",
  stateDir: "/h/state",
  folder,
  disk: { kind: "read", freeBytes: 1e9, isFull: false },
  gateway: { kind: "running", pid: 42, url: "ws://127.0.0.1:1" },
  config,
  database: store,
  own,
};

const facts = { displayName: undefined, platform: "linux", deviceFamily: undefined, clientMode: "cli", remoteIp: undefined };

function paired(over: Partial<DeviceRecord> & { scopes?: readonly string[]; revokedAtMs?: number } = {}): DeviceState {
  const { scopes = all, revokedAtMs, ...rest } = over;
  const grant = {
    role: "operator",
    scopes,
    tokenScopes: scopes,
    elevation: undefined,
    generation: 1,
    createdAtMs: 1,
    rotatedAtMs: undefined,
    revokedAtMs,
  };
  const times = { createdAtMs: 1, approvedAtMs: 1, lastSeenAtMs: undefined };
  const device = {
    ...facts,
    deviceId: own.deviceId,
    publicKey: "k",
    clientId: "cli",
    label: undefined,
    approvedVia: "silent" as const,
    ...times,
    grants: [grant],
  };
  return { kind: "paired", device: { ...device, ...rest }, refused: false, pending: undefined };
}

function waiting(over: Partial<PairingRecord> = {}): PairingRecord {
  const ask = { role: "operator", roles: ["operator"], scopes: all, reason: "scope-upgrade" as const, isRepair: true, silent: false };
  return {
    ...facts,
    ...ask,
    deviceId: own.deviceId,
    publicKey: "k",
    clientId: "cli",
    requestId: "req1",
    words: undefined,
    createdAtMs: 1,
    expiresAtMs: 2,
    ...over,
  };
}

const withDevice = (state: DeviceState, pending: readonly PairingRecord[] = []): Partial<DoctorFacts> => ({
  database: { ...store, devices: [{ deviceId: own.deviceId, state }], pending },
});

test("a healthy gateway has no problem and no note", () => {
  const { ok, findings } = diagnose(healthy);

  assert.equal(ok, true);
  assert.deepEqual(
    findings.filter(({ status }) => status !== "ok"),
    [],
  );
});

const badKey = (name: string) => ({ path: `/h/my state/${name}`, text: `${name} is none` });

const lease = { runId: "run_1", sessionKey: "agent:main:main" };

/** What is wrong, the check that finds it, and its cure. */
const problems: Readonly<Record<string, readonly [facts: Partial<DoctorFacts>, check: string, cure: RegExp]>> = {
  "a folder that cannot be read": [{ folder: { kind: "unreadable", problem: "EACCES" } }, "state folder", /^sudo chown -R/],
  "a file of another user": [
    { folder: { ...folder, foreign: ["/h/state/secret"] } },
    "state folder",
    /chown "\$\(id -un\)" \/h\/state\/secret$/,
  ],
  "a file that others may read": [
    { folder: { ...folder, modeProblems: [{ path: "/h/my state/it's", mode: "644", allowed: "600" }] } },
    "state folder",
    /^chmod 600 '\/h\/my state\/it'\\''s'$/,
  ],
  "a disk that refuses a write": [{ disk: { kind: "read", freeBytes: 1e9, isFull: true } }, "disk", /^df -h \/h\/state/],
  "a disk with no room for a log": [{ disk: { kind: "read", freeBytes: 1e6, isFull: false } }, "disk", /^df -h \/h\/state/],
  "a database that a full disk hides": [{ database: { kind: "no-room" } }, "database", /^df -h \/h\/state/],
  "a token key that is none": [{ folder: { ...folder, keyProblems: [badKey("token-key")] } }, "keys", /^rm '\/h\/my state\/token-key'/],
  "a gateway key that is none": [{ folder: { ...folder, keyProblems: [badKey("gateway-key.pem")] } }, "keys", /of a backup/],
  "a secret that is none": [{ folder: { ...folder, keyProblems: [badKey("secret")] } }, "keys", /of a backup/],
  "a clock that was never set": [{ nowMs: 0, folder: { ...folder, newestMs: 0 }, database: { ...store, newestMs: 0 } }, "clock", /set-ntp/],
  "a clock behind the files": [{ folder: { ...folder, newestMs: nowMs + 120_001 } }, "clock", /set-ntp/],
  "a clock behind the database": [{ database: { ...store, newestMs: nowMs + 120_001 } }, "clock", /set-ntp/],
  "a broken configuration": [{ config: { kind: "broken", problem: "c: gatway: unknown key" } }, "configuration", /config\.md/],
  "a configuration with a secret that others may read": [
    { config: { ...config, modeProblem: { path: "/h/config.json5", mode: "644", allowed: "600" } } },
    "configuration",
    /^chmod 600 \/h\/config\.json5$/,
  ],
  "a configuration that others may write": [
    { config: { ...config, modeProblem: { path: "/h/config.json5", mode: "646", allowed: "644" } } },
    "configuration",
    /^chmod 644 \/h\/config\.json5$/,
  ],
  "a configuration that no gateway starts with": [
    { config: { ...config, bind: "lan", startProblem: "gateway.bind is lan" } },
    "configuration",
    /gateway run$/,
  ],
  "a stand-in that cannot": [
    { config: { ...config, unusableFallbacks: [{ agentId: "main", model: "foo/bar", problem: "there is no provider" }] } },
    "models",
    /configuration/,
  ],
  "every address without TLS": [{ config: { ...config, bind: "lan" } }, "exposure", /gateway\.bind to loopback/],
  "one address without TLS": [{ config: { ...config, bind: "192.0.2.1" } }, "exposure", /gateway\.bind to loopback/],
  "a public URL in the clear": [{ config: { ...config, bind: "lan", publicUrl: "http://box.example" } }, "exposure", /https/],
  "an origin in the clear": [{ config: { ...config, allowedOrigins: ["http://page.example"] } }, "exposure", /https/],
  "a secret that can be guessed": [{ config: { ...config, secretLength: 8 } }, "exposure", /openssl rand/],
  "a model without its key": [
    { config: { ...config, models: [{ agentId: "main", model: "openai/x", problem: "openai has no key; set OPENAI_API_KEY" }] } },
    "models",
    /environment/,
  ],
  "a workspace that is gone": [
    { config: { ...config, missingWorkspaces: [{ agentId: "main", path: "/w" }] } },
    "workspaces",
    /^mkdir -p \/w$/,
  ],
  "a database that is none": [{ database: { kind: "unreadable", problem: "file is not a database" } }, "database", /backup/],
  "a row that names nothing": [{ database: { ...store, danglingRows: ["run r1 names a parent run that is gone"] } }, "rows", /restore/],
  "a run that cannot go on": [{ database: { ...store, brokenJournals: [{ runId: "r1", problem: "no" }] } }, "rows", /restore/],
  "a damaged database": [{ database: { ...store, integrityProblems: ["row 3 missing from index"] } }, "database", /backup/],
  "a newer schema": [{ database: { ...store, unknownMigrations: ["999-future"] } }, "schema", /that version/],
  "a broken chain": [
    { database: { ...store, chain: { rows: 1, head: undefined, firstBreak: { seq: 2, reason: "changed-row" } } } },
    "audit",
    /audit verify/,
  ],
  "a corrupt device": [withDevice({ kind: "corrupt" }), "devices", /new device key/],
  "this home's device below its ceiling": [
    withDevice(paired({ scopes: ["operator.pairing"] })),
    "devices",
    /^rm '\/home\/me\/my tokens\.json'; \.\/portreeve status; then \.\/portreeve devices approve ID/,
  ],
  "a device below its ceiling that waits for the rest": [
    withDevice(paired({ scopes: [] }), [waiting()]),
    "devices",
    /devices approve req1$/,
  ],
  "a device below its ceiling that waits for less": [
    withDevice(paired({ scopes: [] }), [waiting({ scopes: ["operator.pairing"] })]),
    "devices",
    /^rm /,
  ],
  "a run that nobody holds": [{ database: { ...store, unleasedRuns: [{ ...lease, sinceMs: nowMs - 60_001 }] } }, "runs", /restart/],
  "a result that nobody reads": [
    { database: { ...store, unreadResults: [{ ...lease, sinceMs: nowMs - 60_001 }] } },
    "runs",
    /runs show .*runs retry/,
  ],
};

for (const [what, [change, check, cure]] of Object.entries(problems)) {
  test(`${what} is a problem, with its cure`, () => {
    const { ok, findings } = diagnose({ ...healthy, ...change });

    const found = findings.filter(({ status }) => status === "problem");
    assert.equal(ok, false);
    assert.deepEqual(
      found.map((finding) => finding.check),
      [check],
    );
    assert.match(found[0]?.cure ?? "", cure);
  });
}

/** What is worth knowing and wrong with nobody. */
const notes: Readonly<Record<string, readonly [facts: Partial<DoctorFacts>, check: string]>> = {
  "no gateway": [{ gateway: { kind: "down" } }, "gateway"],
  "a gateway that was killed": [{ gateway: { kind: "stale", pid: 42 } }, "gateway"],
  "a gateway that is starting": [{ gateway: { kind: "unknown" } }, "gateway"],
  "a disk that fills up": [{ disk: { kind: "read", freeBytes: 1e8, isFull: false } }, "disk"],
  "a disk that says nothing": [{ disk: { kind: "unknown" } }, "disk"],
  "a database without a table": [{ database: { kind: "empty" } }, "database"],
  "no database": [{ database: { kind: "missing" } }, "database"],
  "an older schema": [{ database: { ...store, missingMigrations: ["005-refusals"] } }, "schema"],
  "keys that are not made yet": [{ folder: { ...folder, missingKeys: ["token-key"] } }, "keys"],
  "a local proxy": [{ config: { ...config, trustedProxies: ["127.0.0.1"], publicUrl: "https://box.example" } }, "exposure"],
  "a proxy without a public URL": [{ config: { ...config, trustedProxies: ["192.0.2.1"] } }, "exposure"],
  "a device that waits": [{ database: { ...store, pending: [waiting()] } }, "pairing requests"],
  "a run that was left, with no gateway": [
    { gateway: { kind: "down" }, database: { ...store, unleasedRuns: [{ ...lease, sinceMs: 1 }] } },
    "runs",
  ],
  "a result whose reader failed": [{ database: { ...store, unconfirmedResults: [{ ...lease, sinceMs: 1 }] } }, "runs"],
  "a run whose claim has just passed": [{ database: { ...store, unleasedRuns: [{ ...lease, sinceMs: nowMs - 1 }] } }, "runs"],
};

for (const [what, [change, check]] of Object.entries(notes)) {
  test(`${what} is said and is no problem`, () => {
    const { ok, findings } = diagnose({ ...healthy, ...change });

    assert.equal(ok, true);
    assert.ok(
      findings.some((finding) => finding.status === "note" && finding.check === check),
      JSON.stringify(findings),
    );
  });
}

const fine: Readonly<Record<string, Partial<DoctorFacts>>> = {
  "a device at its ceiling": withDevice(paired()),
  "a device with more than its ceiling": withDevice(paired({ scopes: [...all, "operator.write"] })),
  "a narrow device of another home": { ...withDevice(paired({ scopes: [] })), own: undefined },
  "this home's device with the limits of its invitation": withDevice(paired({ scopes: [], approvedVia: "bootstrap" })),
  "this home's device with the limits of its approval": withDevice(paired({ scopes: [], approvedVia: "owner" })),
  "a device that was revoked": withDevice(paired({ scopes: [], revokedAtMs: 1 })),
  "TLS on every address": { config: { ...config, bind: "lan", hasTls: true } },
  "a proxy with TLS": { config: { ...config, bind: "lan", publicUrl: "https://box.example" } },
  "a loopback address by number": { config: { ...config, bind: "127.0.0.1" } },
  "a page on this machine": { config: { ...config, allowedOrigins: ["http://localhost:5173", "http://[::1]:1"] } },
  "a clock a little behind": { folder: { ...folder, newestMs: nowMs + 120_000 } },
};

for (const [what, change] of Object.entries(fine)) {
  test(`${what} is nothing to speak of`, () => {
    assert.deepEqual(
      diagnose({ ...healthy, ...change }).findings.filter(({ status }) => status !== "ok"),
      [],
    );
  });
}

test("TLS is believed only of a configuration that turns it on", () => {
  const configs = [
    {},
    { tls: undefined },
    { tls: {} },
    { tls: { mode: "off" } },
    { tls: { mode: "files" } },
    { tls: { mode: "generated" } },
  ];

  assert.deepEqual(configs.map(hasTls), [false, false, false, false, true, true]);
});

test("with a broken configuration everything else is still looked at", () => {
  const { findings } = diagnose({
    ...healthy,
    config: { kind: "broken", problem: "one\ntwo" },
    database: { ...store, unknownMigrations: ["x"] },
  });

  assert.deepEqual(
    findings.filter(({ status }) => status === "problem").map(({ check }) => check),
    ["configuration", "configuration", "schema"],
  );
});
