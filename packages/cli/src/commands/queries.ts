/** Commands that are one call: name, method, and how a person reads the answer. */
import { leastScopes } from "@portreeve/client";
import type { MethodName, ParamsInput, Result } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, withExamples, type ConnectingFlags } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { nextSteps } from "../next-steps.ts";
import { oneLine, toMinute, toTable, writeJson, writeLine, type Io } from "../output.ts";

interface Query<N extends MethodName> {
  /** `noun verb`, or one word. */
  readonly words: string;
  readonly about: string;
  readonly method: N;
  readonly params: ParamsInput<N>;
  readonly show: (result: Result<N>) => string;
  /** What of an answer is a failure all the same: said after it. */
  readonly problemIn?: (result: Result<N>) => CliError | undefined;
}

type AnyQuery = { [N in MethodName]: Query<N> }[MethodName];

const queries: readonly AnyQuery[] = [
  {
    words: "health",
    about: "whether the gateway answers and works",
    method: "health",
    params: {},
    show: showHealth,
    problemIn: problemInHealth,
  },
  {
    words: "status",
    about: "counts of sessions, runs, connections, pairing requests and sub-agents",
    method: "status",
    params: {},
    show: showStatus,
  },
  { words: "presence", about: "who is connected", method: "system-presence", params: {}, show: showPresence },
  { words: "sessions list", about: "sessions, newest first", method: "sessions.list", params: {}, show: showSessions },
  {
    words: "agents list",
    about: "the configured agents and the model each would use",
    method: "agents.list",
    params: {},
    show: showAgents,
  },
];

export function addQueries(program: Command, io: Io): void {
  for (const query of queries) {
    const [noun = query.words, verb] = query.words.split(" ");
    const parent = verb === undefined ? program : program.command(noun).description(`${noun} of the gateway`);
    const command = connecting(parent.command(verb ?? noun, { isDefault: verb !== undefined }).description(query.about));
    withExamples(command, `./portreeve ${query.words}`, `./portreeve ${query.words} --json`);
    command.action((flags: ConnectingFlags) => runQuery(io, query, flags));
  }
}

async function runQuery<N extends MethodName>(
  io: Io,
  { method, params, show, problemIn }: Query<N>,
  flags: ConnectingFlags,
): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await access.open(leastScopes(method, params));
  const result = await client.call(method, params);
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, show(result));
  const problem = problemIn?.(result);
  if (problem !== undefined) throw problem;
}

function showHealth({ defaultAgentId, agents, sessions, store }: Result<"health">): string {
  return `${store === undefined ? "ok" : "answers"}: ${agents.length} agent${agents.length === 1 ? "" : "s"} (default ${oneLine(defaultAgentId)}), ${sessions.count} session${sessions.count === 1 ? "" : "s"}`;
}

function problemInHealth({ store }: Result<"health">): CliError | undefined {
  if (store === undefined) return undefined;
  return new CliError("failed", `The gateway cannot write its state: ${store.problem}.`, {
    code: "STORE_UNAVAILABLE",
    remedy: nextSteps.STORE_UNAVAILABLE,
  });
}

function showStatus({ runtimeVersion, sessions, tasks, children, connections, pairing }: Result<"status">): string {
  const rows = [
    ["version", runtimeVersion],
    ["model", sessions.defaults.model],
    ["sessions", String(sessions.count)],
    ["runs", `${tasks.active} active, ${tasks.terminal} ended, ${tasks.failures} of them without success`],
    [
      "sub-agents",
      `${children.accepted} accepted, ${children.completed} completed, ${children.announced} announced, ${children.undelivered} undelivered`,
    ],
    ["connections", `${connections.open} open, ${connections.accepted} accepted since the start`],
    ["pairing", `${pairing.pending} waiting, ${pairing.requestsCreated} asked for so far`],
  ];
  return toTable(["", ""], rows).trimStart();
}

function showPresence(entries: Result<"system-presence">): string {
  const rows = entries.map(({ host, mode, version, platform, deviceId, ts }) => [
    host ?? "-",
    mode ?? "-",
    version ?? "-",
    platform ?? "-",
    deviceId?.slice(0, 8) ?? "-",
    toMinute(ts),
  ]);
  return toTable(["WHO", "MODE", "VERSION", "PLATFORM", "DEVICE", "SINCE"], rows);
}

function showSessions({ sessions, totalCount }: Result<"sessions.list">): string {
  if (sessions.length === 0) return 'There is no session yet. Start one: ./portreeve agent "hello"';
  const rows = sessions.map((row) => [row.key, row.label ?? "", row.runStatus ?? "-", toMinute(row.updatedAt), row.spawnedBy ?? ""]);
  const rest =
    totalCount > sessions.length
      ? `\n${totalCount - sessions.length} more: ./portreeve call sessions.list '{"offset":${sessions.length}}'`
      : "";
  return `${toTable(["SESSION", "LABEL", "RUN", "UPDATED", "SPAWNED BY"], rows)}${rest}`;
}

function showAgents({ agents, defaultId }: Result<"agents.list">): string {
  const rows = agents.map(({ id, model, workspace }) => [id === defaultId ? `${id} (default)` : id, model.primary, workspace ?? "-"]);
  return toTable(["AGENT", "MODEL", "WORKSPACE"], rows);
}
