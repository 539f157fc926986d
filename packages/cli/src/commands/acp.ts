/** `acp`: an editor's agent over standard input and output. Nothing but the protocol goes to standard output. */
import type { Command } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { AcpAgent } from "../acp/agent.ts";
import { notify, RpcError, rpcCodes, serveRpc } from "../acp/rpc.ts";
import { connecting, findAccess, withExamples, type ConnectingFlags } from "../connecting.ts";
import { toFailure } from "../exit.ts";
import { plain, type Io } from "../output.ts";

interface AcpFlags extends ConnectingFlags {
  readonly agent?: string;
  readonly session?: string;
}

type Params = Readonly<Record<string, unknown>>;

/** For how long a prompt waits for a gateway that is gone: one that is started again is back by then. */
const patienceMs = 60_000;

export function addAcp(program: Command, io: Io): void {
  const command = connecting(program.command("acp").description("be an editor's agent, over stdio (Agent Client Protocol)"));
  command
    .option("--agent <id>", "the agent (default: the gateway's)")
    .option("--session <key>", "the session of every new conversation (default: a new one each time)");
  withExamples(command, "./portreeve acp", "./portreeve acp --agent reviewer --url wss://gateway.example");
  command.action((flags: AcpFlags) => serve(io, flags));
}

async function serve(io: Io, flags: AcpFlags): Promise<void> {
  const access = await findAccess(io, flags);
  const write = (line: string): void => io.out(`${line}\n`);
  const log = (text: string): void => io.err(`portreeve: ${plain(text)}\n`);
  const agent = new AcpAgent({
    open: () => access.open(["operator.write"], { reconnect: { minDelayMs: 500, maxDelayMs: 10_000 }, onOpen: () => log("connected") }),
    update: (sessionId, update) => notify(write, "session/update", { sessionId, update }),
    log,
    version: manifest.version,
    agentId: flags.agent,
    sessionKey: flags.session,
    patienceMs,
  });
  const toError = (error: unknown): RpcError => {
    const { code, message, remedy } = toFailure(error);
    log(`${message} ${remedy}`);
    return new RpcError(rpcCodes.internal, `${message}\n${remedy}`, { code, remedy });
  };
  const handler = {
    request: (method: string, params: Params) => agent.request(method, params),
    notified: (method: string, params: Params) => agent.notified(method, params),
    toError,
  };
  await serveRpc(io.lines(), handler, write);
  await agent.close();
}
