/** ACP over the pipes of a process: `openclaw acp` of both generations, as an editor speaks it. */
import { equal, match } from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type Flow, passed, type Passed, sayScript } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { openOpenclawHome } from "../openclaw-home.ts";
import type { RunningProcess } from "../process.ts";
import type { Rig } from "../rig.ts";
import { openStdioPeer, type StdioPeer } from "../stdio-peer.ts";

export function openclawAcpFlows(generation: Generation, version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (editor: Editor) => Promise<void>>> = {
    "initialize, session/new, session/prompt": promptOnce,
    "session/cancel": cancelPrompt,
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "openclaw acp",
    version,
    name,
    run: async (rig): Promise<Passed> => {
      await using editor = await openOpenclawAcp(rig, generation);
      await act(editor);
      return passed;
    },
  }));
}

export interface Editor extends AsyncDisposable {
  readonly peer: StdioPeer;
  readonly sessionId: string;
}

async function openOpenclawAcp(rig: Rig, generation: Generation): Promise<Editor> {
  const home = await openOpenclawHome(rig, generation);
  return await openEditor(home.start("acp", ...home.access, "--session", `agent:main:${randomUUID()}`), home.folder);
}

/** Initialized, with a new session. */
export async function openEditor(running: RunningProcess, cwd: string): Promise<Editor> {
  const peer = openStdioPeer(running);
  const clientCapabilities = { fs: { readTextFile: false, writeTextFile: false }, terminal: false };
  const { protocolVersion } = await peer.request("initialize", { protocolVersion: 1, clientCapabilities });
  equal(protocolVersion, 1);
  const { sessionId } = await peer.request("session/new", { cwd, mcpServers: [] });
  return { peer, sessionId: String(sessionId), [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** What the editor would show of the agent's words. */
export function readText({ peer }: Editor): string {
  return peer.notifications.map(({ params }) => chunkOf(params)).join("");
}

function chunkOf(params: Readonly<Record<string, unknown>>): string {
  const { update } = params as { update?: { sessionUpdate?: string; content?: { text?: string } } };
  return update?.sessionUpdate === "agent_message_chunk" ? (update.content?.text ?? "") : "";
}

export async function prompt({ peer, sessionId }: Editor, text: string): Promise<unknown> {
  const { stopReason } = await peer.request("session/prompt", { sessionId, prompt: [{ type: "text", text }] });
  return stopReason;
}

export async function promptOnce(editor: Editor): Promise<void> {
  equal(await prompt(editor, sayScript("ahoy from an editor")), "end_turn");
  match(readText(editor), /^ahoy from an editor/);
}

export async function cancelPrompt(editor: Editor): Promise<void> {
  const prompted = prompt(editor, '@script [{"hang":true}]');
  // The model has begun to speak, and would never end.
  await editor.peer.notification(({ params }) => chunkOf(params) !== "");
  editor.peer.notify("session/cancel", { sessionId: editor.sessionId });

  equal(await prompted, "cancelled");
}
