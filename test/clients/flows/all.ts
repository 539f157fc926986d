/** Every flow, by the client it belongs to. */
import type { Flow } from "../flow.ts";
import { type Generation, readVersion } from "../installation.ts";
import { openclawAcpFlows } from "./acp.ts";
import { acpxFlows, editorFlows } from "./acpx.ts";
import { cliFlows } from "./cli.ts";
import { controlUiFlows } from "./control-ui.ts";
import { gatewayClientFlows } from "./gateway-client.ts";
import { mcpServeFlows } from "./mcp-serve.ts";
import { nodeRunFlows } from "./node-run.ts";
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
    ...ofBoth(nodeRunFlows),
    ...ofBoth(controlUiFlows),
    ...gatewayClientFlows(await readVersion("@openclaw/gateway-client")),
    ...openclawNodeFlows(await readVersion("openclaw-node")),
    ...openclawMcpFlows(await readVersion("openclaw-mcp")),
    ...acpxFlows(await readVersion("acpx")),
    ...editorFlows(),
  ];
}
