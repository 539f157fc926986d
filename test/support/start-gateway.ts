/** A real gateway in this process, on a fresh state folder: its socket is open, and its inside can be called. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Caller, Scope } from "@portreeve/protocol";
import { compose, type Gateway } from "../../packages/gateway/src/compose.ts";
import { createCaller } from "../../packages/gateway/src/dispatch/caller.ts";
import { createSystemClock, type SteadyClock } from "../../packages/gateway/src/kit/clock.ts";
import { parseConfig } from "../../packages/gateway/src/kit/config.ts";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { Log } from "../../packages/gateway/src/kit/log.ts";
import { secretPrincipal } from "../../packages/gateway/src/principal/principal.ts";
import { createTools } from "../../packages/gateway/src/tools/all.ts";
import type { Tool } from "../../packages/gateway/src/tools/tool.ts";

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly facts: Readonly<Record<string, unknown>>;
  readonly message: string;
}

export interface TestGateway extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly url: string;
  /** The shared secret. */
  readonly token: string;
  readonly stateDir: string;
  readonly workspaceDir: string;
  readonly logLines: readonly LogLine[];
  /** A caller in process that holds exactly these scopes. */
  callerWith(...scopes: readonly Scope[]): Caller;
  /** Stops the gateway and starts another on the same folder. */
  restart(): Promise<void>;
}

export interface TestGatewayOptions {
  /** As in config.json5. */
  readonly config?: object;
  /** An existing state folder instead of a fresh one; it is not removed at the end. */
  readonly root?: string;
  /** Beside the gateway's own. */
  readonly tools?: readonly Tool[];
  /** All that it sees of its environment; nothing when left out. */
  readonly env?: Readonly<Record<string, string>>;
  /** Instead of the system's. */
  readonly clock?: SteadyClock;
}

export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), "portreeve-test-")));
  const [stateDir, workspaceDir] = [join(root, "state"), join(root, "workspace")];
  const logLines: LogLine[] = [];
  const open = (): Promise<Gateway> =>
    compose({
      config: withPort(options.config ?? {}),
      configFile: join(root, "config.json5"),
      stateDir,
      workspaceDir,
      env: options.env ?? {},
      version: "0.0.0-test",
      log: recordLog(logLines),
      clock: options.clock ?? createSystemClock(),
      ids: createIds(),
      tools: [...createTools(), ...(options.tools ?? [])],
      checkResults: true,
    });
  let gateway = await open();
  return {
    get gateway() {
      return gateway;
    },
    get url() {
      return gateway.listener.url;
    },
    get token() {
      return gateway.keys.secret.reveal();
    },
    stateDir,
    workspaceDir,
    logLines,
    callerWith: (...scopes) => createCaller(gateway.dispatch, secretPrincipal(scopes)),
    async restart() {
      await gateway[Symbol.asyncDispose]();
      gateway = await open();
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      if (options.root === undefined) await rm(root, { recursive: true, force: true });
    },
  };
}

/** Writes a file into the workspace, so that tools have something to read. */
export function writeWorkspaceFile(gateway: TestGateway, name: string, text: string): Promise<void> {
  return writeFile(join(gateway.workspaceDir, name), text);
}

/** A test stops its gateway where it stands, unless it says otherwise. */
function hasDrain(config: object): boolean {
  return "gateway" in config && typeof config.gateway === "object" && config.gateway !== null && "drainSeconds" in config.gateway;
}

function withPort(config: object) {
  const parsed = parseConfig(JSON.stringify(config), "test config");
  return { ...parsed, gateway: { ...parsed.gateway, port: 0, drainSeconds: hasDrain(config) ? parsed.gateway.drainSeconds : 0 } };
}

function recordLog(lines: LogLine[]): Log {
  const write = (level: LogLine["level"]) => (facts: object, message: string) => void lines.push({ level, facts: { ...facts }, message });
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
