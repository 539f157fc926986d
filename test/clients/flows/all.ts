/** Every flow, by the client it belongs to. */
import type { Flow } from "../flow.ts";
import { type Generation, readVersion } from "../installation.ts";
import { openclawAcpFlows } from "./acp.ts";
import { cliFlows } from "./cli.ts";
import { gatewayClientFlows } from "./gateway-client.ts";
import { mcpServeFlows } from "./mcp-serve.ts";
import { openclawMcpFlows } from "./openclaw-mcp.ts";
import { openclawNodeFlows } from "./openclaw-node.ts";
import { tuiFlows } from "./tui.ts";

export async function listFlows(): Promise<readonly Flow[]> {
  const [v4, v3] = [await readVersion("openclaw-v4"), await readVersion("openclaw-v3")];
  const ofBoth = (list: (generation: Generation, version: string) => readonly Flow[]): readonly Flow[] => [...list(4, v4), ...list(3, v3)];
  return [
    ...ofBoth(cliFlows),
    ...ofBoth(openclawAcpFlows),
    ...ofBoth(tuiFlows),
    ...ofBoth(mcpServeFlows),
    ...gatewayClientFlows(await readVersion("@openclaw/gateway-client")),
    ...openclawNodeFlows(await readVersion("openclaw-node")),
    ...openclawMcpFlows(await readVersion("openclaw-mcp")),
  ];
}
