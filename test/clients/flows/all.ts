/** Every flow, by the client it belongs to. */
import type { Flow } from "../flow.ts";
import { type Generation, readVersion } from "../installation.ts";
import { openclawAcpFlows } from "./acp.ts";
import { acpxFlows, editorFlows } from "./acpx.ts";
import { cliFlows } from "./cli.ts";
import { controlUiFlows } from "./control-ui.ts";
import { cronFlows } from "./cron.ts";
import { gatewayClientFlows } from "./gateway-client.ts";
import { mcpServeFlows } from "./mcp-serve.ts";
import { nodeRunFlows } from "./node-run.ts";
import { openclawMcpFlows } from "./openclaw-mcp.ts";
import { openclawNodeFlows } from "./openclaw-node.ts";
import { tuiFlows } from "./tui.ts";

/**
 * Two lanes, tried side by side: clients of protocol 4 and of protocol 3, connected at the same time. A client at work fills a
 * core, so there are no more.
 */
export async function listLanes(): Promise<readonly (readonly Flow[])[]> {
  const ofGeneration = (generation: Generation, version: string): readonly Flow[] => [
    ...cliFlows(generation, version),
    ...cronFlows(generation, version),
    ...openclawAcpFlows(generation, version),
    ...tuiFlows(generation, version),
    ...mcpServeFlows(generation, version),
    ...nodeRunFlows(generation, version),
    ...controlUiFlows(generation, version),
  ];
  const current = [
    ...ofGeneration(4, await readVersion("openclaw-v4")),
    ...gatewayClientFlows(await readVersion("@openclaw/gateway-client")),
    ...openclawNodeFlows(await readVersion("openclaw-node")),
    ...openclawMcpFlows(await readVersion("openclaw-mcp")),
    ...acpxFlows(await readVersion("acpx")),
    ...editorFlows(),
  ];
  return [current, ofGeneration(3, await readVersion("openclaw-v3"))];
}
