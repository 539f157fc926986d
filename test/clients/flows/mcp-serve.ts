/** `openclaw mcp serve`: conversations of the gateway as tools of an MCP client. */
import { deepEqual, match, ok } from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type Flow, getRecord, passed, type Passed, sayScript } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { openOpenclawHome } from "../openclaw-home.ts";
import type { Rig } from "../rig.ts";
import { openStdioPeer, type StdioPeer } from "../stdio-peer.ts";

const conversations = "conversations_list";
const onlyRouted =
  "the client lists sessions that have a channel and an address in it to answer to, and no other; this gateway has no channels, so that the list is empty, as it is for such sessions at the client's own gateway. `messages_read`, `events_poll` and `events_wait` take the key of any session.";

export interface Bridge extends AsyncDisposable {
  /** What a tool answers as data. @throws What the tool says when it fails. */
  call(name: string, args?: object): Promise<Readonly<Record<string, unknown>>>;
  readonly peer: StdioPeer;
  readonly said: string;
}

export async function openBridge(home: Awaited<ReturnType<typeof openOpenclawHome>>): Promise<Bridge> {
  const running = home.start("mcp", "serve", ...home.access);
  const peer = openStdioPeer(running);
  await peer.request("initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "rig", version: "1" } });
  peer.notify("notifications/initialized", {});
  return {
    peer,
    get said() {
      return running.said;
    },
    call: async (name, args = {}) => {
      const result = await peer.request("tools/call", { name, arguments: args });
      if (result["isError"] === true) throw new Error(`${name}: ${JSON.stringify(result["content"])}`);
      return getRecord(result["structuredContent"], `what ${name} answered`);
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

export function mcpServeFlows(generation: Generation, version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (rig: Rig, bridge: Bridge) => Promise<void>>> = {
    [conversations]: listConversations,
    messages_read: readMessages,
    "events_poll and events_wait": pollEvents,
    "permissions_list_open and permissions_respond": answerPermission,
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "openclaw mcp serve",
    version,
    name,
    ...(name === conversations ? { note: onlyRouted } : {}),
    run: async (rig): Promise<Passed> => {
      await using bridge = await openBridge(await openOpenclawHome(rig, generation));
      await act(rig, bridge);
      return passed;
    },
  }));
}

/** The session is there, and is none: as at the gateways of the clients' own packages. */
async function listConversations(rig: Rig, bridge: Bridge): Promise<void> {
  const sessionKey = await talk(rig, "ahoy without a route");
  const { sessions } = await rig.call<{ sessions: readonly { key: string }[] }>("sessions.list");
  ok(sessions.some(({ key }) => key === sessionKey));

  deepEqual(await bridge.call("conversations_list"), { conversations: [] });
}

async function readMessages(rig: Rig, bridge: Bridge): Promise<void> {
  const sessionKey = await talk(rig, "ahoy to be read");

  const { messages } = await bridge.call("messages_read", { session_key: sessionKey });

  ok(Array.isArray(messages) && messages.length === 2);
  match(JSON.stringify(messages[1]), /ahoy to be read/);
}

async function pollEvents(rig: Rig, bridge: Bridge): Promise<void> {
  const before = await bridge.call("events_poll");
  const sessionKey = await talk(rig, "ahoy as an event");

  const next = await bridge.call("events_wait", {
    after_cursor: Number(before["next_cursor"] ?? 0),
    session_key: sessionKey,
    timeout_ms: 30_000,
  });

  match(JSON.stringify(next), new RegExp(`"type":"message".*"sessionKey":"${sessionKey}"`));
}

interface PairedDevice {
  readonly deviceId: string;
  readonly displayName?: string;
  readonly connected: boolean;
}

/** The bridge holds no `operator.admin`: it sees a request that names its device. */
async function answerPermission(rig: Rig, bridge: Bridge): Promise<void> {
  await bridge.call("permissions_list_open");
  const { paired } = await rig.call<{ paired: readonly PairedDevice[] }>("device.pair.list");
  const bridges = paired.filter((device) => device.connected && device.displayName === "OpenClaw MCP");
  const id = randomUUID();
  const approvalReviewerDeviceIds = bridges.map(({ deviceId }) => deviceId);
  const asked = rig.call<{ decision: string }>("exec.approval.request", { id, command: "uname -a", approvalReviewerDeviceIds });

  const decided = async (): Promise<void> => {
    await until(async () => JSON.stringify(await bridge.call("permissions_list_open")).includes(id));
    await bridge.call("permissions_respond", { kind: "exec", id, decision: "allow-once" });
  };

  const [{ decision }] = await Promise.all([asked, decided()]);
  deepEqual(decision, "allow-once");
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  if (!(await isSo())) await until(isSo);
}

/** A conversation of its own with one answer; its key. */
async function talk(rig: Rig, answer: string): Promise<string> {
  const sessionKey = `agent:main:${randomUUID()}`;
  await rig.call("agent", { message: sayScript(answer), sessionKey, idempotencyKey: randomUUID() });
  return sessionKey;
}
