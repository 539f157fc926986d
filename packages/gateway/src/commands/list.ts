/** The commands as clients offer them. Pure: what is said of each stands in `commandLines`. */
import type { Result } from "@portreeve/protocol";
import { commandLines } from "./parse.ts";

type Listed = Result<"commands.list">["commands"][number];

export function listCommands({ includeArgs }: { readonly includeArgs: boolean }): Listed[] {
  const byName = Map.groupBy(commandLines, ([usage]) => usage.split(" ")[0] ?? usage);
  return [...byName].map(([alias, lines]) => {
    const acceptsArgs = lines.some(([usage]) => usage.includes(" "));
    return {
      name: alias.slice(1),
      textAliases: alias === "/stop" ? [alias, "/abort"] : [alias],
      description: acceptsArgs ? "see, start, steer and stop the sub-agents of this session" : (lines[0]?.[1] ?? ""),
      category: "session",
      source: "native",
      scope: "text",
      acceptsArgs,
      ...(acceptsArgs && includeArgs ? { args: [toAction(lines)] } : {}),
    };
  });
}

function toAction(lines: readonly (readonly [usage: string, about: string])[]): NonNullable<Listed["args"]>[number] {
  const choices = lines.map(([usage, about]) => ({ value: usage.split(" ")[1] ?? "", label: `${usage}: ${about}` }));
  return { name: "action", description: "what to do; `list` when left out", type: "string", choices, required: false };
}
