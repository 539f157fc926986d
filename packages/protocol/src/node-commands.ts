/** What a command of a node takes: of whoever approves it for the node, and of whoever runs it. Pure. */
import { isRecord } from "./frames.ts";

const programCommands = new Set([
  "browser.proxy",
  "browser.proxy.upload.v1",
  "fs.listDir",
  "system.execApprovals.get",
  "system.execApprovals.set",
  "system.run",
  "system.run.prepare",
  "system.which",
]);

/** What an approver of these commands must hold. Pure. */
export function scopesToApproveNode(commands: readonly string[]): readonly string[] {
  if (commands.length === 0) return ["operator.pairing"];
  const isProgram = (command: string): boolean =>
    programCommands.has(command) || command.startsWith("system.") || command.startsWith("browser.proxy");
  return commands.some(isProgram) ? ["operator.pairing", "operator.write", "operator.admin"] : ["operator.pairing", "operator.write"];
}

/** Of `system.`, what runs no program that the caller chooses and changes no policy. */
const harmlessOfSystem = new Set(["system.notify", "system.run.prepare", "system.which"]);

/** What a caller must hold to run the command on a node, however it is approved for the node. Pure. */
export function scopeToInvokeNode(command: string, params: unknown): "operator.write" | "operator.admin" {
  // A program that names an approval stands on that, and runs only as it was approved.
  if (command === "system.run" && isRecord(params) && typeof params["runId"] === "string") return "operator.write";
  if (command === "fs.listDir" || command.startsWith("browser.proxy") || command.startsWith("terminal.")) return "operator.admin";
  return command.startsWith("system.") && !harmlessOfSystem.has(command) ? "operator.admin" : "operator.write";
}
