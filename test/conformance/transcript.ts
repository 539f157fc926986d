/** A transcript: what a client sends and what must come back, as JSON that any language can play. README.md has the format. */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Pattern } from "./matching.ts";

export type Protocol = 3 | 4;

/** How a connection is opened; its key is made for the play and kept under `key` (else under the connection's own name). */
export interface Opening {
  readonly key?: string;
  readonly role?: "operator" | "node";
  readonly scopes?: readonly string[];
  readonly client?: object;
  /** Further fields of `connect`. */
  readonly extra?: object;
  /** `token`, the default: the shared secret. `none`: nothing. Anything else: a device token that was saved under this name. */
  readonly auth?: string;
  /** A setup code that was saved under this name, instead of all that. */
  readonly setupCode?: string;
}

interface StepBase {
  readonly about?: string;
  /** Left out: for both. */
  readonly only?: Protocol;
  /** The connection; `main` when left out. */
  readonly on?: string;
  /** Name → path in the payload (`device.tokens.0.token`); later steps write `${name}`. */
  readonly save?: Readonly<Record<string, string>>;
}

export type Step =
  | (StepBase & {
      readonly send: string;
      readonly params?: unknown;
      /** What the answer holds; `error` instead when it is a refusal. */
      readonly payload?: Pattern;
      readonly error?: Pattern;
      /** The first of two answers. */
      readonly accepted?: Pattern;
      /** The play goes on without the answer, which the step `answer` with this name takes up. */
      readonly later?: string;
    })
  | (StepBase & { readonly answer: string; readonly payload?: Pattern; readonly error?: Pattern })
  | (StepBase & { readonly event: string; readonly payload: Pattern })
  | (StepBase & { readonly open: string; readonly with: Opening; readonly payload?: Pattern; readonly error?: Pattern })
  | (StepBase & { readonly close: string });

export interface Transcript {
  readonly name: string;
  readonly about: string;
  readonly protocols: readonly Protocol[];
  readonly connections: Readonly<Record<string, Opening>>;
  readonly steps: readonly Step[];
}

export async function readTranscripts(folder = join(import.meta.dirname, "transcripts")): Promise<readonly Transcript[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".json")).toSorted();
  return Promise.all(
    files.map(async (file) => {
      // Our own files: what is wrong with one shows at once when it is played.
      const read = JSON.parse(await readFile(join(folder, file), "utf8")) as Partial<Transcript>;
      const { about = "", protocols = [3, 4], connections = { main: { scopes: ["operator.admin"] } }, steps = [] } = read;
      return { name: basename(file, ".json"), about, protocols, connections, steps };
    }),
  );
}
