/** The agent side of the Agent Client Protocol: an editor's sessions are sessions of the gateway, its prompts are runs. */
import { randomUUID } from "node:crypto";
import type {
  InitializeResponse,
  ListSessionsResponse,
  LoadSessionResponse,
  NewSessionResponse,
  PromptResponse,
  SessionUpdate,
} from "@agentclientprotocol/sdk";
import type { GatewayClient } from "@portreeve/client";
import type { EventPayload, Result } from "@portreeve/protocol/wire";
import { toMessage } from "./prompt.ts";
import { RpcError, rpcCodes } from "./rpc.ts";
import { Turn } from "./turn.ts";
import { replay, said } from "./updates.ts";

export interface AcpAgentOptions {
  /** A connection that may write; it comes back by itself when it is lost. */
  readonly open: () => Promise<GatewayClient>;
  readonly update: (sessionId: string, update: SessionUpdate) => void;
  /** For a person. */
  readonly log: (text: string) => void;
  readonly version: string;
  /** Undefined: the gateway's default one. */
  readonly agentId: string | undefined;
  /** The session of every `session/new`; undefined: a new one each time. */
  readonly sessionKey: string | undefined;
  readonly patienceMs: number;
}

interface OpenSession {
  readonly key: string;
  /** The prompt under way. */
  turn: Turn | undefined;
}

type Params = Readonly<Record<string, unknown>>;

const historyPage = 1_000;
const sessionPage = 50;

export class AcpAgent {
  readonly #options: AcpAgentOptions;
  /** What this editor opened, by the id it has for it. */
  readonly #sessions = new Map<string, OpenSession>();
  /** Replies that nobody asked for here: what sub-agents brought after their run was over. */
  readonly #later = new Map<string, string>();
  #client: Promise<GatewayClient> | undefined;
  #isClosed = false;

  constructor(options: AcpAgentOptions) {
    this.#options = options;
  }

  /** @throws RpcError; RemoteError or ConnectionError of the gateway */
  async request(method: string, params: Params): Promise<object> {
    switch (method) {
      case "initialize":
        return this.#initialize();
      case "session/new":
        return await this.#newSession(params);
      case "session/load":
        return await this.#load(params);
      case "session/resume":
        return await this.#resume(params);
      case "session/list":
        return await this.#list(params);
      case "session/close":
        return await this.#close(params);
      case "session/prompt":
        return await this.#prompt(params);
      default:
        throw new RpcError(rpcCodes.unknownMethod, `unknown method: ${method.slice(0, 200)}`);
    }
  }

  notified(method: string, params: Params): void {
    if (method !== "session/cancel" || typeof params["sessionId"] !== "string") return;
    void this.#sessions.get(params["sessionId"])?.turn?.cancel();
  }

  /** Lets go of the gateway. Runs under way go on there. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const client = await this.#client?.catch(() => undefined);
    client?.close();
  }

  #initialize(): InitializeResponse {
    return {
      protocolVersion: 1,
      agentInfo: { name: "portreeve", title: "Portreeve", version: this.#options.version },
      agentCapabilities: {
        loadSession: true,
        promptCapabilities: { image: false, audio: false, embeddedContext: true },
        mcpCapabilities: { http: false, sse: false },
        sessionCapabilities: { list: {}, resume: {}, close: {} },
      },
      authMethods: [],
    };
  }

  async #newSession(params: Params): Promise<NewSessionResponse> {
    const client = await this.#connected();
    const { agentId, sessionKey = `acp:${randomUUID()}` } = this.#options;
    const { key: sessionId } = await client.call("sessions.create", { key: sessionKey, ...(agentId === undefined ? {} : { agentId }) });
    this.#noteServers(params);
    this.#open(client, sessionId, sessionId);
    return { sessionId };
  }

  async #load(params: Params): Promise<LoadSessionResponse> {
    const { client, sessionId, history } = await this.#find(params, historyPage);
    const { sessionKey } = history;
    const pages = [history];
    for (let page = history; page.hasMore; pages.unshift(page)) {
      const offset = pages.reduce((sum, { messages }) => sum + messages.length, 0);
      page = await readHistory(client, sessionKey, { limit: historyPage, offset });
    }
    for (const update of replay(pages.flatMap(({ messages }) => messages))) this.#options.update(sessionId, update);
    this.#noteServers(params);
    this.#open(client, sessionId, sessionKey);
    return {};
  }

  async #resume(params: Params): Promise<object> {
    const { client, sessionId, history } = await this.#find(params, 1);
    this.#noteServers(params);
    this.#open(client, sessionId, history.sessionKey);
    return {};
  }

  async #find(params: Params, limit: number) {
    const sessionId = readText(params, "sessionId");
    const client = await this.#connected();
    const history = await readHistory(client, sessionId, { limit, offset: 0 });
    if (history.sessionId === "") throw unknownSession(sessionId);
    return { client, sessionId, history };
  }

  async #list(params: Params): Promise<ListSessionsResponse> {
    const client = await this.#connected();
    const offset = Number(params["cursor"] ?? 0);
    if (!Number.isSafeInteger(offset) || offset < 0) throw new RpcError(rpcCodes.invalidParams, "cursor is none that was given");
    const { sessions, nextOffset } = await client.call("sessions.list", { limit: sessionPage, offset });
    // Sessions of the gateway belong to no folder of the editor's.
    const cwd = typeof params["cwd"] === "string" ? params["cwd"] : "/";
    const own = sessions.filter(({ spawnedBy }) => spawnedBy === undefined);
    return {
      sessions: own.map(({ key, displayName, updatedAt }) => ({
        sessionId: key,
        cwd,
        title: displayName,
        updatedAt: new Date(updatedAt).toISOString(),
      })),
      ...(typeof nextOffset === "number" ? { nextCursor: String(nextOffset) } : {}),
    };
  }

  async #close(params: Params): Promise<object> {
    const sessionId = readText(params, "sessionId");
    await this.#sessions.get(sessionId)?.turn?.cancel();
    this.#sessions.delete(sessionId);
    return {};
  }

  async #prompt(params: Params): Promise<PromptResponse> {
    const sessionId = readText(params, "sessionId");
    const message = toMessage(params["prompt"]);
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw unknownSession(sessionId);
    if (session.turn !== undefined)
      throw new RpcError(rpcCodes.invalidRequest, "The session's prompt before is not answered yet; cancel it first.");
    const ask = { sessionKey: session.key, message, patienceMs: this.#options.patienceMs };
    // Before anything is waited for: a cancel may be on the next line.
    session.turn = new Turn(
      () => this.#connected(),
      ask,
      (update) => this.#options.update(sessionId, update),
    );
    try {
      return { stopReason: await session.turn.run() };
    } finally {
      session.turn = undefined;
    }
  }

  #open(client: GatewayClient, sessionId: string, key: string): void {
    if (!this.#sessions.has(sessionId)) this.#sessions.set(sessionId, { key, turn: undefined });
    void this.#tellCommands(client, sessionId);
  }

  /** What may be typed after a slash. An editor that is not told can type it all the same. */
  async #tellCommands(client: GatewayClient, sessionId: string): Promise<void> {
    const { commands } = await client.call("commands.list", {}).catch(() => ({ commands: [] }));
    const availableCommands = commands.map(({ name, description, acceptsArgs }) => ({
      name,
      description,
      ...(acceptsArgs ? { input: { hint: "what to do" } } : {}),
    }));
    if (availableCommands.length > 0) this.#options.update(sessionId, { sessionUpdate: "available_commands_update", availableCommands });
  }

  #noteServers({ mcpServers }: Params): void {
    if (Array.isArray(mcpServers) && mcpServers.length > 0)
      this.#options.log("The editor's MCP servers are not used: an agent has the tools that the gateway gives it.");
  }

  /** The one connection; after its end for good, the next request opens another. */
  #connected(): Promise<GatewayClient> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  async #connect(): Promise<GatewayClient> {
    try {
      const client = await this.#options.open();
      client.on("agent", (event) => this.#hearLater(event));
      void client.closed.then((error) => {
        if (!this.#isClosed) this.#options.log(error.message);
        this.#client = undefined;
      });
      return client;
    } catch (error) {
      this.#client = undefined;
      throw error;
    }
  }

  #hearLater(event: EventPayload<"agent">): void {
    const { runId, sessionKey } = event;
    const [sessionId] = [...this.#sessions].find(([, { key }]) => key === sessionKey) ?? [];
    if (!runId.startsWith("announce:") || sessionId === undefined) return;
    if (event.stream === "lifecycle" && (event.data.phase === "end" || event.data.phase === "error")) this.#later.delete(runId);
    if (event.stream !== "assistant") return;
    const before = this.#later.get(runId) ?? "";
    const { text } = event.data;
    const isMore = text.startsWith(before);
    this.#later.set(runId, text);
    this.#options.update(sessionId, said("agent", isMore && before !== "" ? text.slice(before.length) : `\n\n${text}`));
  }
}

function readHistory(client: GatewayClient, sessionKey: string, page: { readonly limit: number; readonly offset: number }) {
  return client.call("chat.history", { sessionKey, ...page, maxChars: 500_000 }) satisfies Promise<Result<"chat.history">>;
}

function readText(params: Params, name: string): string {
  const value = params[name];
  if (typeof value === "string" && value !== "") return value;
  throw new RpcError(rpcCodes.invalidParams, `${name} must be text`);
}

function unknownSession(sessionId: string): RpcError {
  return new RpcError(rpcCodes.notFound, `There is no session ${sessionId.slice(0, 200)}.`);
}
