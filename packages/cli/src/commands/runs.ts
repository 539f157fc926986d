/** `runs`: what agents do and did, how to stop it, and what becomes of results that nobody has read. */
import { leastScopes, type GatewayClient } from "@portreeve/client";
import type { MethodName, ParamsInput, RunRow } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { usageError } from "../exit.ts";
import { oneLine, writeJson, writeLine, type Io } from "../output.ts";
import { findRunId } from "../runs/find.ts";
import { shortRunId, showRun, showRuns, showTree, tellRun } from "../runs/show.ts";

interface ListFlags extends ConnectingFlags {
  readonly session?: string;
  readonly agent?: string;
  readonly active?: boolean;
  readonly undelivered?: boolean;
  readonly limit?: number;
  readonly watch?: boolean;
}

const open = ["queued", "running", "waiting"] as const;
const ids = "\nA RUN is an id, the end of one as `./portreeve runs` shows it, its beginning, a label, or a session: its newest run.";

export function addRuns(program: Command, io: Io): void {
  const runs = program.command("runs").description("what agents do and did, and how to stop it").addHelpText("after", ids);
  addList(runs, io);
  addReads(runs, io);
  addDecisions(runs, io);
}

function addList(runs: Command, io: Io): void {
  const list = connecting(runs.command("list", { isDefault: true }).description("runs, newest first (the default)")).allowExcessArguments();
  list
    .option("--active", "only those that have not ended")
    .option("--undelivered", "only those whose result has not safely reached whoever it is for")
    .option("--session <key>", "only of this session")
    .option("--agent <id>", "only of this agent")
    .option("--limit <n>", "rows at most (default: 30)", wholeNumber(1, 500))
    .option("--watch", "then tell every change until Ctrl-C");
  withExamples(list, "./portreeve runs", "./portreeve runs list --active --watch", "./portreeve runs list --undelivered --json");
  list.action(async (flags: ListFlags) => {
    // A word that is no command of the group arrives here, as an argument of the group's default.
    const [unknown] = list.args;
    if (unknown !== undefined) throw usageError(`unknown command '${unknown}' of runs`, "See `./portreeve runs --help`.");
    await runList(io, flags);
  });
}

function addReads(runs: Command, io: Io): void {
  const show = connecting(
    runs.command("show <run>").description("one run: who asked, what it may do, attempts, each delivery, and its causes"),
  );
  withExamples(show, "./portreeve runs show 3fa94c2b", "./portreeve runs show main --json");
  show.action((run: string, flags: ConnectingFlags) =>
    onRun(io, { method: "runs.get", run, flags }, async (client, runId) => {
      const details = await client.call("runs.get", { runId });
      return { result: details, text: showRun(details, Date.now()) };
    }),
  );

  const tree = connecting(runs.command("tree <run>").description("a run and everything below it"));
  withExamples(tree, "./portreeve runs tree 3fa94c2b");
  tree.action((run: string, flags: ConnectingFlags) =>
    onRun(io, { method: "runs.tree", run, flags }, async (client, runId) => {
      const result = await client.call("runs.tree", { runId });
      return { result, text: showTree(result, Date.now()) };
    }),
  );
}

function addDecisions(runs: Command, io: Io): void {
  const cancel = connecting(runs.command("cancel <run>").description("stop a run and everything below it"));
  withExamples(cancel, "./portreeve runs cancel 3fa94c2b");
  cancel.action((run: string, flags: ConnectingFlags) =>
    onRun(io, { method: "runs.cancel", run, flags }, async (client, runId) => {
      const result = await client.call("runs.cancel", { runId });
      const count = result.cancelledRunIds.length;
      const text = count === 0 ? `Nothing to stop: it is ${result.status}.` : `Stopped ${count} run${count === 1 ? "" : "s"}.`;
      return { result, text };
    }),
  );

  const retry = connecting(runs.command("retry <run>").description("deliver a result again that is blocked or unconfirmed"));
  withExamples(retry, "./portreeve runs list --undelivered", "./portreeve runs retry 3fa94c2b");
  retry.action((run: string, flags: ConnectingFlags) =>
    onRun(io, { method: "runs.retry", run, flags }, async (client, runId) => {
      const result = await client.call("runs.retry", { runId });
      return { result, text: `Delivery ${result.generation} to ${oneLine(result.toSessionKey)}: a turn of its own will read it.` };
    }),
  );

  const dismiss = connecting(runs.command("dismiss <run>").description("leave a result undelivered that is blocked or unconfirmed"));
  withExamples(dismiss, "./portreeve runs dismiss 3fa94c2b");
  dismiss.action((run: string, flags: ConnectingFlags) =>
    onRun(io, { method: "runs.dismiss", run, flags }, async (client, runId) => {
      const result = await client.call("runs.dismiss", { runId });
      return {
        result,
        text: `Dismissed: no turn will read the result of ${shortRunId(runId)}. To read it yourself: ./portreeve runs show ${runId}`,
      };
    }),
  );
}

interface RunCommand {
  readonly method: MethodName;
  readonly run: string;
  readonly flags: ConnectingFlags;
}

async function onRun(
  io: Io,
  { method, run, flags }: RunCommand,
  work: (client: GatewayClient, runId: string) => Promise<{ readonly result: object; readonly text: string }>,
): Promise<void> {
  const access = await findAccess(io, flags);
  // What may stop a run may also look for it.
  using client = await access.open(leastScopes(method));
  const { result, text } = await work(client, await findRunId(client, run));
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, text);
}

async function runList(io: Io, { session, agent, active, undelivered, limit = 30, ...flags }: ListFlags): Promise<void> {
  const params: ParamsInput<"runs.list"> = {
    limit,
    ...(session === undefined ? {} : { sessionKey: session }),
    ...(agent === undefined ? {} : { agentId: agent }),
    ...(active === true ? { status: [...open] } : {}),
    ...(undelivered === true ? { undelivered } : {}),
  };
  const access = await findAccess(io, flags);
  using client = await access.open(leastScopes("runs.list", params));
  const page = await client.call("runs.list", params);
  if (flags.json === true) writeJson(io, page);
  else writeLine(io, showRuns(page.runs, Date.now()) + (page.nextCursor === undefined ? "" : "\nThere are more: --limit"));
  if (flags.watch === true) await watchRuns(io, client, { params, first: page.runs, asJson: flags.json === true });
}

/** Reads the list again whenever a session changes: no lost event leaves a change untold. Resolves at Ctrl-C. */
async function watchRuns(
  io: Io,
  client: GatewayClient,
  { params, first, asJson }: { params: ParamsInput<"runs.list">; first: readonly RunRow[]; asJson: boolean },
): Promise<void> {
  const told = new Map(first.map((run) => [run.runId, tellRun(run)]));
  const interrupted = io.interrupted();
  let next = Promise.withResolvers<void>();
  let lost: Error | undefined;
  const look = (): void => next.resolve();
  using _ = client.on("sessions.changed", look);
  interrupted.addEventListener("abort", look, { once: true });
  void client.closed.then((error) => {
    lost = error;
    look();
  });
  await client.call("sessions.subscribe", {});
  // Whoever has ended leaves the list of the active ones, and is told all the same.
  const { status: _status, ...all } = params;
  while (!interrupted.aborted) {
    if (lost !== undefined) throw lost;
    const { runs } = await client.call("runs.list", all);
    for (const run of runs.toReversed()) {
      const line = tellRun(run);
      if (told.get(run.runId) === line || (params.status !== undefined && !told.has(run.runId) && run.endedAt !== undefined)) continue;
      told.set(run.runId, line);
      if (asJson) writeJson(io, run);
      else writeLine(io, line);
    }
    await next.promise;
    next = Promise.withResolvers();
  }
}
