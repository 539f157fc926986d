/** What is seen of a run, told in lines: who called what, who spawned whom with which scopes, whose result came back. */
import { oneLine } from "./output.ts";
import type { Seen } from "./run-watch.ts";

export class Narrator {
  /** The unfinished last line of each run's text. */
  readonly #open = new Map<string, string>();

  /** The lines that `seen` completes; text is told in whole lines, each under its speaker's name. */
  tell(seen: Seen): readonly string[] {
    return this.#tell(seen).map((line) => oneLine(line, 400));
  }

  #tell(seen: Seen): readonly string[] {
    switch (seen.kind) {
      case "text":
        return [...(seen.isNew ? this.#flush(seen.by) : []), ...this.#add(seen.by, seen.text)];
      case "tool":
        return [...this.#flush(seen.by), `${seen.by.name}: ${seen.name} ${oneLine(JSON.stringify(seen.args) ?? "", 90)}`];
      case "spawned":
        return [`${seen.by.name} spawned ${seen.child.name} with ${seen.scopes.join(", ") || "no scopes"} (${seen.child.sessionKey})`];
      case "announced":
        return [...this.#flush(seen.child), `${seen.child.name} came back to ${seen.by.name}: ${seen.status}: ${oneLine(seen.result)}`];
    }
  }

  #add({ runId, name }: Seen["by"], text: string): readonly string[] {
    const lines = `${this.#open.get(runId) ?? ""}${text}`.split("\n");
    this.#open.set(runId, lines.pop() ?? "");
    return lines.filter((line) => line.trim() !== "").map((line) => `${name}: ${oneLine(line, 120)}`);
  }

  #flush(actor: Seen["by"]): readonly string[] {
    return this.#add(actor, this.#open.has(actor.runId) ? "\n" : "");
  }
}
