/** Checks of the database: its integrity, the audit, who is paired, what waits. Pure. */
import { coversAll } from "@portreeve/protocol";
import { shellQuote as quote } from "../kit/shell-quote.ts";
import type { PairingRecord } from "../store/device-store.ts";
import type { DoctorFacts, OwnClient, StoreFacts } from "./facts.ts";
import { type Finding, named, orOk } from "./findings.ts";

/** What waits longer than this beside a running gateway, waits for nothing. */
const patienceMs = 60_000;

export function checkStore(facts: DoctorFacts): readonly Finding[] {
  const { note, problem } = named("database");
  const { database, stateDir } = facts;
  if (database.kind === "missing") return [note("there is none yet; the first start makes it")];
  if (database.kind === "empty") {
    const text = "it holds nothing: a first start that failed, as on a full disk, leaves it so, and the next start fills it";
    return [note(`${text}; had it been in use, ./portreeve restore FOLDER --force brings a backup back`, "./portreeve gateway run")];
  }
  if (database.kind === "no-room") {
    const cure = `df -h ${quote(stateDir)}   # free space there, then: ./portreeve doctor`;
    return [problem("it cannot be read while its disk is full, which says nothing against it", cure)];
  }
  if (database.kind === "unreadable")
    return [
      problem(
        `it cannot be read: ${database.problem}`,
        `./portreeve restore FOLDER --force   # of a backup, with the gateway stopped; what is there is kept aside`,
      ),
    ];
  return [
    ...checkSoundness(database, stateDir),
    ...checkDevices(database, facts.own),
    ...checkPending(database),
    ...checkRuns(database, facts),
  ];
}

/** What must hold of a database before anything else is asked of it. */
export function checkSoundness(database: StoreFacts, stateDir: string): readonly Finding[] {
  return [...checkIntegrity(database, stateDir), ...checkSchema(database), ...checkAudit(database), ...checkLinks(database)];
}

function checkIntegrity({ integrityProblems }: StoreFacts, stateDir: string): readonly Finding[] {
  const { ok, problem } = named("database");
  const cure = `stop the gateway, keep a copy of ${quote(stateDir)}, then ./portreeve restore FOLDER --force, of a backup`;
  return orOk(
    integrityProblems.map((text) => problem(`SQLite's check found: ${text}`, cure)),
    ok("SQLite's integrity check finds nothing"),
  );
}

function checkSchema({ unknownMigrations, missingMigrations }: StoreFacts): readonly Finding[] {
  const { ok, note, problem } = named("schema");
  if (unknownMigrations.length > 0) {
    return [
      problem(
        `${unknownMigrations.join(", ")} was written by a newer version, so this one does not open it`,
        "use that version of Portreeve",
      ),
    ];
  }
  if (missingMigrations.length > 0)
    return [note(`older than this version: the next start adds ${missingMigrations.join(", ")}`, "./portreeve gateway run")];
  return [ok("it is this version's")];
}

function checkAudit({ chain }: StoreFacts): readonly Finding[] {
  const { ok, problem } = named("audit");
  const { firstBreak, rows } = chain;
  if (firstBreak === undefined) return [ok(`the chain holds, ${rows} rows`)];
  return [
    problem(`the chain breaks at row ${firstBreak.seq} (${firstBreak.reason}): trust no grant from there on`, "./portreeve audit verify"),
  ];
}

function checkLinks({ danglingRows, brokenJournals }: StoreFacts): readonly Finding[] {
  const { ok, problem } = named("rows");
  const cure = "./portreeve restore FOLDER";
  return orOk(
    [
      ...danglingRows.map((text) => problem(text, cure)),
      ...brokenJournals.map(({ runId, problem: why }) => problem(`the journal of run ${runId} cannot be continued: ${why}`, cure)),
    ],
    ok("every row names what is there, and every open run can be continued"),
  );
}

/** What a person granted is meant so; only what paired itself silently, as this home's command line does, can lack what it needs. */
function checkDevices({ devices, pending }: StoreFacts, own: OwnClient | undefined): readonly Finding[] {
  const { ok, problem } = named("devices");
  const found = devices.flatMap(({ deviceId, state }) => {
    if (state.kind === "corrupt") {
      const cure = "restore the database from a backup, or give that client a new device key and connect again";
      return [problem(`the record of device ${deviceId} cannot be read; it is refused`, cure)];
    }
    if (state.kind !== "paired") return [];
    const { device } = state;
    if (own === undefined || deviceId !== own.deviceId || device.approvedVia !== "silent") return [];
    const grant = device.grants.find(({ role, revokedAtMs }) => role === "operator" && revokedAtMs === undefined);
    // A revoked device is meant to have less.
    if (grant === undefined || coversAll(grant.scopes, own.scopes)) return [];
    const missing = own.scopes.filter((scope) => !coversAll(grant.scopes, [scope]));
    const name = `${device.displayName ?? device.clientId} (${deviceId.slice(0, 8)})`;
    const text = `${name} is approved for ${grant.scopes.join(", ") || "nothing"} and lacks ${missing.join(", ")}, which its commands need`;
    return [problem(text, cureOf(own, pending))];
  });
  return orOk(found, ok(`${devices.length} paired, and every record can be read`));
}

/** A request that waits is approved; without one, the client must ask afresh with the secret instead of its narrow token. */
function cureOf({ deviceId, scopes, tokensFile }: OwnClient, pending: readonly PairingRecord[]): string {
  const request = pending.find((one) => one.deviceId === deviceId && coversAll(one.scopes, scopes));
  if (request !== undefined) return `./portreeve devices approve ${request.requestId}`;
  return `rm ${quote(tokensFile)}; ./portreeve status; then ./portreeve devices approve ID, as that says`;
}

function checkPending({ pending }: StoreFacts): readonly Finding[] {
  const { ok, note } = named("pairing requests");
  return orOk(
    pending.map(({ requestId, displayName, clientId, reason, scopes }) =>
      note(
        `${displayName ?? clientId} waits (${reason}) for ${scopes.join(", ") || "no scope"}`,
        `./portreeve devices approve ${requestId}   # or reject`,
      ),
    ),
    ok("nobody waits"),
  );
}

function checkRuns({ unleasedRuns, unreadResults, unconfirmedResults }: StoreFacts, { gateway, nowMs }: DoctorFacts): readonly Finding[] {
  const { ok, note, problem } = named("runs");
  const isUp = gateway.kind === "running";
  const decide = (runId: string): string => `./portreeve runs show ${runId}   # then runs retry, or runs dismiss`;
  const found = [
    ...unleasedRuns.map(({ runId, sessionKey, sinceMs }) => ({
      sinceMs,
      text: `run ${runId} of ${sessionKey} is running and no worker holds it`,
      cure: "restart the gateway: it takes up what was left",
    })),
    ...unreadResults.map(({ runId, sessionKey, sinceMs }) => ({
      sinceMs,
      text: `the result of run ${runId} was not delivered to ${sessionKey}`,
      cure: decide(runId),
    })),
  ];
  return orOk(
    [
      ...found.map(({ text, cure, sinceMs }) =>
        isUp && sinceMs < nowMs - patienceMs
          ? problem(text, cure)
          : note(`${text}; ${isUp ? "it may be taken up any moment" : "the next start takes it up"}`),
      ),
      ...unconfirmedResults.map(({ runId, sessionKey }) =>
        note(`the result of run ${runId} for ${sessionKey} is unconfirmed: a turn read it and then failed`, decide(runId)),
      ),
    ],
    ok("none is stuck, and every result is delivered"),
  );
}
