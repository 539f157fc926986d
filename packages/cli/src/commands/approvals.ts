/** `approvals`: programs that wait for a yes, shown in full, and the decision about them. */
import { type GatewayClient, leastScopes } from "@portreeve/client";
import type { PendingApproval } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import type { Access } from "../access.ts";
import { connecting, findAccess, withExamples, type ConnectingFlags } from "../connecting.ts";
import { shortId, tellSpan } from "../devices/words.ts";
import { CliError } from "../exit.ts";
import { oneLine, plain, writeJson, writeLine, type Io } from "../output.ts";

interface DecideFlags extends ConnectingFlags {
  readonly yes?: boolean;
}

interface Decision {
  readonly id: string;
  readonly decision: "allow-once" | "deny";
  readonly flags: DecideFlags;
}

export function addApprovals(program: Command, io: Io): void {
  const approvals = program.command("approvals").description("programs that wait for a yes, and the decision about them");
  const list = connecting(
    approvals.command("list", { isDefault: true }).description("what waits, in full, the oldest first (the default)"),
  );
  withExamples(list, "./portreeve approvals", "./portreeve approvals list --json");
  list.action((flags: ConnectingFlags) => runList(io, flags));

  const yes = connecting(approvals.command("approve <id>").description("let a program run once, exactly as it is shown"));
  yes.option("--yes", "do not ask; needed where there is no terminal to ask on");
  withExamples(yes, "./portreeve approvals approve 4f9d1c2a", "./portreeve approvals approve 4f9d1c2a --yes --json");
  yes.action((id: string, flags: DecideFlags) => decide(io, { id, decision: "allow-once", flags }));

  const no = connecting(approvals.command("deny <id>").description("have a program not run"));
  withExamples(no, "./portreeve approvals deny 4f9d1c2a");
  no.action((id: string, flags: DecideFlags) => decide(io, { id, decision: "deny", flags }));
}

/** With admin every request is shown; a reviewer is shown those that name its device. */
function openAsReviewer(access: Access): Promise<GatewayClient> {
  return access.openWithMost(["operator.admin"], leastScopes("exec.approval.list"));
}

async function runList(io: Io, flags: ConnectingFlags): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await openAsReviewer(access);
  const waiting = await client.call("exec.approval.list", {});
  if (flags.json === true) return writeJson(io, waiting);
  const nowMs = Date.now();
  const shown = waiting.map((approval) => showApproval(approval, nowMs)).join("\n\n");
  writeLine(io, waiting.length === 0 ? "Nothing waits for an approval." : shown);
}

async function decide(io: Io, { id, decision, flags }: Decision): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await openAsReviewer(access);
  const approval = findApproval(await client.call("exec.approval.list", {}), id);
  if (decision === "allow-once" && flags.yes !== true) await assertAgreed(io, approval);
  const result = await client.call("exec.approval.resolve", { id: approval.id, decision });
  if (flags.json === true) return writeJson(io, { id: approval.id, decision, ...result });
  writeLine(io, decision === "deny" ? "Denied: it does not run." : "Approved: it may run once, exactly as shown.");
}

/** Shows all that runs and asks for a yes. @throws CliError when nobody is there to ask, or the answer is another. */
async function assertAgreed(io: Io, approval: PendingApproval): Promise<void> {
  const shown = showApproval(approval, Date.now());
  if (io.ask === undefined) {
    throw new CliError("usage", `Approving needs a yes, and there is no terminal to ask on.\n${shown}`, {
      code: "CONFIRMATION_NEEDED",
      remedy: `To approve exactly this: ./portreeve approvals approve ${approval.id} --yes`,
    });
  }
  io.err(`${shown}\n`);
  if (/^\s*y(es)?\s*$/i.test(await io.ask("Let it run once? (y/N) "))) return;
  throw new CliError("failed", "Not approved; nothing was changed.", {
    code: "NOT_CONFIRMED",
    remedy: `It still waits. To have it not run: ./portreeve approvals deny ${shortId(approval.id)}`,
  });
}

/** The one request whose id begins with `id`. @throws CliError when there is none or more than one. */
export function findApproval(waiting: readonly PendingApproval[], id: string): PendingApproval {
  const found = waiting.filter((approval) => id !== "" && approval.id.startsWith(id));
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only;
  const remedy = "See what waits: ./portreeve approvals";
  if (only === undefined) throw new CliError("failed", `No approval that waits has the id ${id}.`, { code: "APPROVAL_NOT_FOUND", remedy });
  throw new CliError("usage", `${found.length} approvals begin with ${id}.`, { remedy: `Give more of the id. ${remedy}` });
}

/** Every line in full: what is cut would be approved unseen. */
export function showApproval({ id, request, requestedBy, expiresAtMs }: PendingApproval, nowMs: number): string {
  const { nodeId, host, cwd, env, warningText, agentId, sessionKey, file } = request;
  const facts: readonly (readonly [name: string, value: string | null])[] = [
    ["runs", request.command],
    ["where", nodeId === null ? host : `node ${nodeId}`],
    ["folder", cwd],
    [
      "with",
      env === null
        ? null
        : Object.entries(env)
            .map(([name, value]) => `${name}=${value}`)
            .join(" "),
    ],
    ["reads", file === null ? null : `${file.path} (sha256 ${file.sha256})`],
    ["says", warningText],
    ["agent", agentId],
    ["session", sessionKey],
    ["asked by", requestedBy],
    ["expires", `in ${tellSpan(Math.max(0, expiresAtMs - nowMs))}`],
  ];
  const lines = facts.flatMap(([name, value]) =>
    value === null ? [] : [`  ${name.padEnd(9)} ${plain(value).replaceAll("\n", "\n            ")}`],
  );
  return [oneLine(id, Infinity), ...lines].join("\n");
}
