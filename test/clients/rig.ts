/** One gateway for every client, and what a flow may use of it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bareEnv, type GatewayProcess, startGatewayProcess } from "../support/gateway-process.ts";
import { runProcess } from "./process.ts";

const launcher = join(import.meta.dirname, "../../portreeve");

export interface Rig extends AsyncDisposable {
  readonly gateway: GatewayProcess;
  readonly port: number;
  /** What the remedy says: `./portreeve devices approve ID`, beside the gateway; there is no terminal to say yes on. */
  approve(requestId: string): Promise<void>;
  /** Any method, as `./portreeve call`; throws when it is refused. */
  call<T>(method: string, params?: object): Promise<T>;
  /** A new folder that is gone at the end. */
  folder(): Promise<string>;
}

export async function startRig(): Promise<Rig> {
  const root = await mkdtemp(join(tmpdir(), "portreeve-clients-"));
  const gateway = await startGatewayProcess({ config: {} });
  const portreeve = async (...args: readonly string[]): Promise<string> => {
    const env = { ...bareEnv(gateway.home), PORTREEVE_URL: gateway.url };
    const { code, out, err } = await runProcess(launcher, args, { env });
    if (code !== 0) throw new Error(`./portreeve ${args.join(" ")} ended with ${code}: ${err}${out}`);
    return out;
  };
  return {
    gateway,
    port: Number(new URL(gateway.url).port),
    approve: async (requestId) => void (await portreeve("devices", "approve", requestId, "--yes")),
    call: async <T>(method: string, params: object = {}) => JSON.parse(await portreeve("call", method, JSON.stringify(params))) as T,
    folder: () => mkdtemp(join(root, "home-")),
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
