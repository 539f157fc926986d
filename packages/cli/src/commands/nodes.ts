/** `nodes`: which there are, the decision about what they declare, and one command on one of them. */
import { leastScopes } from "@portreeve/client";
import { type Result, scopesToApproveNode } from "@portreeve/protocol/wire";
import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { shortId } from "../devices/words.ts";
import { CliError } from "../exit.ts";
import { oneLine, toJsonText, toTable, writeJson, writeLine, type Io } from "../output.ts";
import { parseParams } from "./call.ts";

type NodeRow = Result<"node.list">["nodes"][number];

interface ApproveFlags extends ConnectingFlags {
  readonly yes?: boolean;
}

interface InvokeFlags extends ConnectingFlags {
  readonly timeout?: number;
}

export function addNodes(program: Command, io: Io): void {
  const nodes = program.command("nodes").description("machines that run commands for you, and what of each is approved");
  const list = nodes.command("list", { isDefault: true }).description("which there are, what each may be asked, what waits (the default)");
  withExamples(connecting(list), "./portreeve nodes", "./portreeve nodes list --json");
  list.action((flags: ConnectingFlags) => runList(io, flags));

  const yes = connecting(nodes.command("approve <node>").description("approve what a node declares: shows it, and asks"));
  yes.option("--yes", "do not ask; needed where there is no terminal to ask on");
  withExamples(yes, "./portreeve nodes approve 8d20b1f4", "./portreeve nodes approve 8d20b1f4 --yes");
  yes.action((id: string, flags: ApproveFlags) => approve(io, id, flags));

  const invoke = connecting(nodes.command("invoke <node> <command> [json]").description("run one approved command on a node"));
  invoke.option("--timeout <seconds>", "how long to wait for its answer (default: 30)", wholeNumber(1, 600));
  withExamples(
    invoke,
    `./portreeve nodes invoke 8d20b1f4 system.which '{"bins":["git"]}'`,
    "./portreeve nodes invoke 8d20b1f4 device.info --timeout 60",
  );
  invoke.action((id: string, command: string, json: string | undefined, flags: InvokeFlags) =>
    runInvoke(io, { id, command, params: json === undefined ? undefined : parseParams(json), flags }),
  );
}

async function runList(io: Io, flags: ConnectingFlags): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await access.open(leastScopes("node.list"));
  const result = await client.call("node.list", {});
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, showNodes(result.nodes));
}

async function approve(io: Io, id: string, flags: ApproveFlags): Promise<void> {
  const access = await findAccess(io, flags);
  using reader = await access.openAsOwner(leastScopes("node.list"));
  const node = findNode((await reader.call("node.list", {})).nodes, id);
  const { pendingRequestId: requestId, pendingDeclaredCommands: commands = [], pendingDeclaredCaps: caps = [] } = node;
  if (requestId === undefined) {
    throw new CliError("failed", `Nothing that ${nameOf(node)} declares waits.`, { code: "UNKNOWN_REQUEST", remedy: seeNodes });
  }
  const shown = `${nameOf(node)} (node ${oneLine(node.nodeId)}) may then be asked for: ${toWords([...commands, ...caps])}`;
  if (flags.yes !== true) await assertAgreed(io, node, shown);
  using client = await access.openAsOwner(scopesToApproveNode(commands));
  const result = await client.call("node.pair.approve", { requestId });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, `Approved: ${shown}`);
}

async function assertAgreed(io: Io, node: NodeRow, shown: string): Promise<void> {
  if (io.ask === undefined) {
    throw new CliError("usage", `Approving needs a yes, and there is no terminal to ask on.\n${shown}`, {
      code: "CONFIRMATION_NEEDED",
      remedy: `To approve exactly this: ./portreeve nodes approve ${node.nodeId} --yes`,
    });
  }
  io.err(`${shown}\n`);
  if (/^\s*y(es)?\s*$/i.test(await io.ask("Approve it? (y/N) "))) return;
  throw new CliError("failed", "Not approved; nothing was changed.", { code: "NOT_CONFIRMED", remedy: seeNodes });
}

interface Invocation {
  readonly id: string;
  readonly command: string;
  readonly params: Record<string, unknown> | undefined;
  readonly flags: InvokeFlags;
}

async function runInvoke(io: Io, { id, command, params, flags }: Invocation): Promise<void> {
  const access = await findAccess(io, flags);
  using reader = await access.open(leastScopes("node.list"));
  const { nodeId } = findNode((await reader.call("node.list", {})).nodes, id);
  const timeout = flags.timeout === undefined ? {} : { timeoutMs: flags.timeout * 1_000 };
  const ask = { nodeId, command, ...(params === undefined ? {} : { params }), ...timeout, idempotencyKey: randomUUID() };
  using client = await access.open(leastScopes("node.invoke", ask));
  const result = await client.call("node.invoke", ask);
  if (flags.json === true) writeJson(io, result);
  else io.out(`${toJsonText(result.payload ?? result.payloadJSON, 2)}\n`);
}

const seeNodes = "See the nodes and what of them waits: ./portreeve nodes";

/** The one node whose id begins with `id`. @throws CliError when there is none or more than one. */
export function findNode(nodes: readonly NodeRow[], id: string): NodeRow {
  const found = nodes.filter(({ nodeId }) => id !== "" && nodeId.startsWith(id));
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only;
  if (only === undefined) throw new CliError("failed", `No node has the id ${id}.`, { code: "UNKNOWN_DEVICE", remedy: seeNodes });
  throw new CliError("usage", `${found.length} nodes begin with ${id}.`, { remedy: `Give more of the id. ${seeNodes}` });
}

export function showNodes(nodes: readonly NodeRow[]): string {
  if (nodes.length === 0) return "There is no node yet. A node is a device that connects with the role node.";
  const waits = ({ pendingRequestId, pendingDeclaredCommands = [] }: NodeRow): string =>
    pendingRequestId === undefined ? "-" : pendingDeclaredCommands.join(" ") || "no command";
  const rows = nodes.map((node) => [
    shortId(node.nodeId),
    nameOf(node),
    node.connected ? "connected" : "away",
    node.commands.join(" ") || "-",
    waits(node),
  ]);
  const table = toTable(["NODE", "NAME", "", "COMMANDS", "WAITS FOR AN APPROVAL"], rows);
  const isWaiting = nodes.some(({ pendingRequestId }) => pendingRequestId !== undefined);
  return isWaiting ? `${table}\nTo approve what a node declares: ./portreeve nodes approve NODE` : table;
}

/** In full: what is cut would be approved unseen. */
function toWords(names: readonly string[]): string {
  return oneLine(names.join(" "), Infinity) || "nothing";
}

function nameOf({ displayName, clientId }: NodeRow): string {
  return oneLine(displayName ?? clientId);
}
