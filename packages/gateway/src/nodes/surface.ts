/** What of a node is live: what this connection declares and what is approved, never one of the two alone. Pure. */
import type { NodeSurface } from "../store/nodes.ts";

export function liveSurface(declared: NodeSurface, approved: NodeSurface | undefined): NodeSurface {
  if (approved === undefined) return { caps: [], commands: [], permissions: {} };
  return {
    caps: declared.caps.filter((cap) => approved.caps.includes(cap)),
    commands: declared.commands.filter((command) => approved.commands.includes(command)),
    permissions: Object.fromEntries(
      Object.entries(declared.permissions).filter(
        ([name, on]) => !on || (Object.hasOwn(approved.permissions, name) && approved.permissions[name] === true),
      ),
    ),
  };
}
