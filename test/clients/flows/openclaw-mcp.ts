/** `openclaw-mcp`: an MCP server others wrote, which asks the gateway over HTTP. */
import { equal, match } from "node:assert/strict";
import { type Flow, passed, type Passed, sayScript } from "../flow.ts";
import { installed } from "../installation.ts";
import { startProcess } from "../process.ts";
import type { Rig } from "../rig.ts";
import { openStdioPeer, type StdioPeer } from "../stdio-peer.ts";

export function openclawMcpFlows(version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (peer: StdioPeer) => Promise<void>>> = {
    health: readHealth,
    chat,
    "chat that goes on by itself": chatAsync,
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "openclaw-mcp",
    version,
    name,
    run: async (rig): Promise<Passed> => {
      await using server = await open(rig);
      await act(server.peer);
      return passed;
    },
  }));
}

async function open({ gateway, folder }: Rig): Promise<AsyncDisposable & { readonly peer: StdioPeer }> {
  const home = await folder();
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: home,
    OPENCLAW_URL: gateway.url.replace(/^ws/, "http"),
    OPENCLAW_GATEWAY_TOKEN: gateway.token,
    OPENCLAW_MODEL: "openclaw",
  };
  const running = startProcess(process.execPath, [installed("openclaw-mcp", "dist/index.js")], { env, cwd: home });
  const peer = openStdioPeer(running);
  await peer.request("initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "rig", version: "1" } });
  peer.notify("notifications/initialized", {});
  return { peer, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** The text a tool answers. */
async function call(peer: StdioPeer, name: string, args: object = {}): Promise<string> {
  const { content, isError } = (await peer.request("tools/call", { name, arguments: args })) as {
    content?: readonly { readonly text?: string }[];
    isError?: boolean;
  };
  const text = (content ?? []).map((block) => block.text ?? "").join("");
  if (isError === true) throw new Error(`${name}: ${text}`);
  return text;
}

async function readHealth(peer: StdioPeer): Promise<void> {
  match(await call(peer, "openclaw_status"), /"status":\s*"ok"|healthy/i);
}

async function chat(peer: StdioPeer): Promise<void> {
  match(await call(peer, "openclaw_chat", { message: sayScript("ahoy over HTTP") }), /^ahoy over HTTP/);
}

async function chatAsync(peer: StdioPeer): Promise<void> {
  const started = await call(peer, "openclaw_chat_async", { message: sayScript("ahoy in a while") });
  const taskId = /"task_id":\s*"([^"]+)"/.exec(started)?.[1];
  if (taskId === undefined) throw new Error(`no task was started: ${started}`);
  const status = await untilEnded(() => call(peer, "openclaw_task_status", { task_id: taskId }));

  equal(/"status":\s*"(\w+)"/.exec(status)?.[1], "completed");
  match(status, /ahoy in a while/);
}

async function untilEnded(ask: () => Promise<string>): Promise<string> {
  const status = await ask();
  return /"status":\s*"(pending|running)"/.test(status) ? await untilEnded(ask) : status;
}
