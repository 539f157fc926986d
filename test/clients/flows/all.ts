/** Every flow, by the client it belongs to. */
import type { Flow } from "../flow.ts";
import { readVersion } from "../installation.ts";
import { cliFlows } from "./cli.ts";
import { gatewayClientFlows } from "./gateway-client.ts";
import { openclawNodeFlows } from "./openclaw-node.ts";

export async function listFlows(): Promise<readonly Flow[]> {
  return [
    ...cliFlows(4, await readVersion("openclaw-v4")),
    ...cliFlows(3, await readVersion("openclaw-v3")),
    ...gatewayClientFlows(await readVersion("@openclaw/gateway-client")),
    ...openclawNodeFlows(await readVersion("openclaw-node")),
  ];
}
