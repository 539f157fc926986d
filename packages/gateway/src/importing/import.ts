/** Takes over what another gateway's state folder holds: once, without widening what is here, and with a word on everything else. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mainSessionKey, ProtocolError } from "@portreeve/protocol";
import { toSpec } from "../cron/job-spec.ts";
import { makePrivateFolder } from "../kit/home.ts";
import { authorityOfJob, secretPrincipal } from "../principal/principal.ts";
import { copyDatabase } from "../store/restoring.ts";
import { openReadOnlyDatabase } from "../store/read-only.ts";
import { StateFolderError } from "../store/folder-error.ts";
import { openStore, openStoreFile } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { planAgents, writeAgents } from "./agents.ts";
import { ImportError } from "./import-error.ts";
import { openSource } from "./open-source.ts";
import type { Imported, ImportOptions, ImportReport, Left, Part } from "./report.ts";
import type { Candidate, SourceDevice, SourceJob, SourceSession } from "./source.ts";
import { SourceProblem } from "./source-folder.ts";

export type { ImportReport, Part } from "./report.ts";

/** @throws ImportError; then nothing, or with STATE_UNWRITABLE not everything, came over: the next one goes on. */
export async function importState(options: ImportOptions): Promise<ImportReport> {
  const { sourceDir, homeDir, dryRun, nowMs } = options;
  await using source = await openSource(sourceDir, homeDir);
  if (source === undefined)
    throw new ImportError(
      "SOURCE_NOT_FOUND",
      `${sourceDir} is no state folder of OpenClaw`,
      "Name the one that holds openclaw.json: --state DIR",
    );
  const from = `openclaw ${source.generation}`;
  const plan = await planAgents(source.agents, options);
  await using target = await openTarget(options);
  if (!dryRun) await writeAgents(options.configFile, plan);

  const devices = await takeAll(source.devices, (device) => takeDevice(target.store, { device, from }, nowMs));
  const sessions = await takeAll(source.sessions, (session) => takeSession(target.store, session, { agentIds: plan.agentIds, nowMs }));
  const jobs = await takeAll(source.jobs, (job) => takeJob(target.store, job, { agentIds: plan.agentIds, nowMs }));
  const counts = {
    agents: plan.part.imported.length,
    devices: devices.imported.length,
    sessions: sessions.imported.length,
    jobs: jobs.imported.length,
  };
  if (Object.values(counts).some((count) => count > 0)) await target.store.imports.record(from, counts, nowMs);
  const { generation, leftovers, problems } = source;
  return { generation, dryRun, agents: plan.part, devices, sessions, jobs, leftovers, problems };
}

/** What became of one thing: it came, with what it lacks, or it did not. */
type Taken = { readonly notes: readonly string[] } | { readonly why: string };

async function takeAll<T>(candidates: readonly Candidate<T>[], take: (value: T) => Promise<Taken>): Promise<Part> {
  const [imported, left]: [Imported[], Left[]] = [[], []];
  for (const candidate of candidates) {
    const { what } = candidate;
    const taken = candidate.kind === "left" ? candidate : await take(candidate.value);
    if ("why" in taken) left.push({ what, why: taken.why });
    else imported.push({ what, notes: [...(candidate.kind === "usable" ? candidate.notes : []), ...taken.notes] });
  }
  return { imported, left };
}

async function takeDevice(
  { imports }: Store,
  { device, from }: { readonly device: SourceDevice; readonly from: string },
  nowMs: number,
): Promise<Taken> {
  const outcome = await imports.device({ ...device, remoteIp: undefined }, from, nowMs);
  switch (outcome) {
    case "imported":
      return { notes: [] };
    case "paired":
      return { why: "it is paired here already" };
    case "refused":
      return { why: "its key was rejected, removed or revoked here" };
    case "waiting":
      return { why: "it waits for an approval here already" };
  }
}

interface Place {
  readonly agentIds: ReadonlySet<string>;
  readonly nowMs: number;
}

async function takeSession({ imports }: Store, session: SourceSession, { agentIds, nowMs }: Place): Promise<Taken> {
  if (!agentIds.has(session.agentId)) return { why: `there is no agent ${session.agentId} here` };
  if (await imports.hasSession(session.key)) return { why: "there is one of that key here already" };
  try {
    const { messages, notes } = await session.messages();
    const { isArchived, messages: _, ...facts } = session;
    const outcome = await imports.session({ ...facts, messages, archivedAtMs: isArchived ? nowMs : undefined });
    return outcome === "imported" ? { notes } : { why: "there is one of that key here already" };
  } catch (error) {
    if (error instanceof SourceProblem) return { why: error.message };
    throw error;
  }
}

async function takeJob({ imports }: Store, { id, job, wasEnabled }: SourceJob, { agentIds, nowMs }: Place): Promise<Taken> {
  try {
    // Its fields are checked by what checks `cron.add`.
    const spec = toSpec(job as unknown as Parameters<typeof toSpec>[0]);
    const named = spec.sessionTarget.startsWith("session:") ? spec.sessionTarget.slice("session:".length) : spec.sessionKey;
    if (spec.sessionTarget === "current" && named === undefined) return { why: "it speaks in a session that it does not name" };
    const agentId = spec.agentId ?? /^agent:([^:]+):/.exec(named ?? "")?.[1] ?? "main";
    if (!agentIds.has(agentId)) return { why: `there is no agent ${agentId.slice(0, 64)} here` };
    const targetKey = spec.sessionTarget === "isolated" ? undefined : toKey(named, agentId);
    const tools = spec.payload.toolsAllow;
    const authority = authorityOfJob(secretPrincipal(["operator.write"]), tools === undefined || tools.includes("*") ? "all" : tools);
    // Nobody's authority is lent to what a folder says: whoever enables it gives it theirs.
    const outcome = await imports.job(
      { spec, agentId, targetKey, enabled: false, actsFor: "secret:local", authority, nextRunAtMs: undefined },
      id,
      nowMs,
    );
    if (outcome.kind === "exists") return { why: "it is here already" };
    if (outcome.kind !== "imported") return { why: "there are as many jobs here as there may be" };
    return { notes: [wasEnabled ? `disabled until you enable it: ./portreeve cron enable ${outcome.jobId}` : "disabled, as it was"] };
  } catch (error) {
    if (error instanceof ProtocolError) return { why: error.message.slice(0, 300) };
    throw error;
  }
}

function toKey(named: string | undefined, agentId: string): string {
  if (named === undefined || named === "main") return mainSessionKey(agentId);
  return (named.startsWith("agent:") ? named : `agent:${agentId}:${named}`).toLowerCase();
}

interface Target extends AsyncDisposable {
  readonly store: Store;
}

/** The state itself, which no gateway may be using; or, to change nothing, a copy of it. */
async function openTarget(options: ImportOptions): Promise<Target> {
  const { stateDir, ids } = options;
  if (options.dryRun) return openCopy(options);
  try {
    await makePrivateFolder(stateDir);
    const store = await openStore(stateDir, ids);
    return { store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
  } catch (error) {
    if (!(error instanceof StateFolderError)) throw unwritable(stateDir, error);
    throw new ImportError("STATE_IN_USE", error.message, "Stop that gateway, import, and start it again.", error);
  }
}

async function openCopy({ stateDir, ids }: ImportOptions): Promise<Target> {
  const draft = await mkdtemp(join(tmpdir(), "portreeve-dry-run-"));
  const drop = (): Promise<void> => rm(draft, { recursive: true, force: true });
  try {
    const file = join(draft, "portreeve.db");
    const present = openReadOnlyDatabase(stateDir);
    present?.close();
    if (present !== undefined) copyDatabase(stateDir, file);
    const store = await openStoreFile(file, ids);
    return {
      store,
      async [Symbol.asyncDispose]() {
        await store[Symbol.asyncDispose]();
        await drop();
      },
    };
  } catch (error) {
    await drop();
    throw unwritable(stateDir, error);
  }
}

function unwritable(stateDir: string, error: unknown): ImportError {
  const why = error instanceof Error ? error.message : String(error);
  return new ImportError(
    "STATE_UNWRITABLE",
    `the state folder ${stateDir} cannot be used: ${why}`,
    "See what is wrong with it: ./portreeve doctor",
    error,
  );
}
