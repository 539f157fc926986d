/** `acpx`, a client of ACP for the terminal, with our own command line as its agent. */
import { equal, match } from "node:assert/strict";
import { join } from "node:path";
import { bareEnv } from "../../support/gateway-process.ts";
import { type Flow, passed, type Passed, sayScript } from "../flow.ts";
import { installed } from "../installation.ts";
import { type Ended, runProcess, startProcess } from "../process.ts";
import type { Rig } from "../rig.ts";
import { cancelPrompt, openEditor, prompt, promptOnce, readText } from "./acp.ts";

const launcher = join(import.meta.dirname, "../../../portreeve");

export function acpxFlows(version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (rig: Rig, home: string) => Promise<void>>> = {
    "exec: one prompt": promptAlone,
    "exec: a tool call is shown": showToolCall,
    "sessions new, then two prompts in it": keepSession,
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "acpx, with ./portreeve acp",
    version,
    name,
    run: async (rig): Promise<Passed> => {
      await act(rig, await rig.folder());
      return passed;
    },
  }));
}

function acpx(rig: Rig, home: string, ...args: readonly string[]): Promise<Ended> {
  const agent = `${launcher} acp --url ${rig.gateway.url} --token ${rig.gateway.token}`;
  const options = ["--agent", agent, "--cwd", home, "--approve-all", "--ttl", "60"];
  // The agent's own home and the client's, both new.
  const env = { ...bareEnv(home), PATH: process.env["PATH"] ?? "" };
  return runProcess(process.execPath, [installed("acpx", "dist/cli.js"), ...options, ...args], { env, cwd: home });
}

async function promptAlone(rig: Rig, home: string): Promise<void> {
  const { code, out, err } = await acpx(rig, home, "exec", sayScript("ahoy through acpx"));

  match(out, /ahoy through acpx\s*\n\s*\n\(From the built-in/, err);
  equal(code, 0);
}

async function showToolCall(rig: Rig, home: string): Promise<void> {
  const steps = [{ call: [{ tool: "ls", args: {} }] }, { say: "looked around" }];
  const { out, err } = await acpx(rig, home, "--format", "json", "exec", `@script ${JSON.stringify(steps)}`);

  match(out, /"sessionUpdate":"tool_call"/, err);
  match(out, /"status":"completed"/);
  match(out, /looked/);
}

async function keepSession(rig: Rig, home: string): Promise<void> {
  const made = await acpx(rig, home, "sessions", "new");
  equal(made.code, 0, made.err);

  for (const text of ["ahoy once", "ahoy twice"]) {
    const { out, err } = await acpx(rig, home, "prompt", sayScript(text));
    match(out, new RegExp(text), err);
  }
  equal((await acpx(rig, home, "sessions", "close")).code, 0);
}

/** Any editor: the same protocol without acpx. */
export function editorFlows(): readonly Flow[] {
  const open = async (rig: Rig): ReturnType<typeof openEditor> => {
    const home = await rig.folder();
    const args = ["acp", "--url", rig.gateway.url, "--token", rig.gateway.token];
    return await openEditor(startProcess(launcher, args, { env: bareEnv(home), cwd: home }), home);
  };
  const flow = (name: string, act: (rig: Rig) => Promise<void>): Flow => ({
    client: "an editor, with ./portreeve acp",
    version: "ACP 1",
    name,
    run: async (rig): Promise<Passed> => {
      await act(rig);
      return passed;
    },
  });
  return [
    flow("initialize, session/new, session/prompt", async (rig) => {
      await using editor = await open(rig);
      await promptOnce(editor);
    }),
    flow("session/cancel", async (rig) => {
      await using editor = await open(rig);
      await cancelPrompt(editor);
    }),
    flow("session/load", async (rig) => {
      await using first = await open(rig);
      await prompt(first, sayScript("ahoy to be loaded"));
      await using second = await open(rig);
      await second.peer.request("session/load", { sessionId: first.sessionId, cwd: "/", mcpServers: [] });

      match(readText(second), /ahoy to be loaded/);
    }),
  ];
}
