/** A guide as what a reader does with it, in order: commands of `sh` blocks, and what the comments beside them say happens. */

export type GuideStep =
  | { readonly kind: "command"; readonly text: string; readonly where: string; readonly exit: number }
  /** A request over HTTP, as the words after `curl`. */
  | { readonly kind: "curl"; readonly words: readonly string[] }
  /** `<!-- phone asks for operator.read, operator.write -->` */
  | { readonly kind: "asks"; readonly who: string; readonly scopes: readonly string[] }
  /** `export NAME=VALUE` in a block. */
  | { readonly kind: "export"; readonly name: string; readonly value: string; readonly where: string };

/** `<!-- laptop, exit 4 -->` before a block: where its commands are run, and how each ends; else on the gateway's machine, and well. */
export function readGuide(markdown: string): readonly GuideStep[] {
  const steps: GuideStep[] = [];
  let next = { where: "gateway", exit: 0 };
  for (const [, comment, block] of markdown.matchAll(/^<!-- (.+) -->$|^```sh\n([^]*?)^```$/gm)) {
    const asks = /^(\w+) asks for (.+)$/.exec(comment ?? "");
    const place = /^(\w+)(?:, exit (\d))?$/.exec(comment ?? "");
    if (asks !== null) steps.push({ kind: "asks", who: asks[1] ?? "", scopes: (asks[2] ?? "").split(", ") });
    else if (place !== null) next = { where: place[1] ?? "", exit: Number(place[2] ?? 0) };
    else if (comment !== undefined) throw new Error(`a comment that no step follows from: ${comment}`);
    if (block === undefined) continue;
    for (const line of block.trim().split("\n")) steps.push(toStep(line, next));
    next = { where: "gateway", exit: 0 };
  }
  return steps;
}

/** The words of a command, without what a pipe makes of its output. */
export function toWords(command: string): readonly string[] {
  const [own = ""] = command.split(" | ");
  return [...own.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, quoted, literal, bare]) => quoted ?? literal ?? bare ?? "");
}

function toStep(line: string, { where, exit }: { where: string; exit: number }): GuideStep {
  const exported = /^export (\w+)=(\S+)$/.exec(line);
  if (exported !== null) return { kind: "export", name: exported[1] ?? "", value: exported[2] ?? "", where };
  if (line.startsWith("curl ")) return { kind: "curl", words: toWords(line).slice(1) };
  if (!line.startsWith("./portreeve ")) throw new Error(`a guide's sh block has a line that is no command of ours: ${line}`);
  return { kind: "command", text: line, where, exit };
}
