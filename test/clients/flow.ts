/** A flow is one thing a person does with a client; what came of it is a row of the table. */
import { isRecord } from "@portreeve/protocol";
import type { Rig } from "./rig.ts";

export interface Flow {
  readonly client: string;
  readonly version: string;
  readonly name: string;
  /** What a person should know who sees less than they looked for. */
  readonly note?: string;
  /** Throws when the client did not do what a person would see it do. */
  run(rig: Rig): Promise<Passed>;
}

/** `upgrade`: the client asked for more scopes than its device had, said how to cure it, and one approval did. */
export interface Passed {
  readonly upgrade: "cured" | "not asked";
}

export type Outcome =
  | { readonly kind: "passed"; readonly upgrade: Passed["upgrade"] }
  | { readonly kind: "failed"; readonly why: string }
  | { readonly kind: "skipped"; readonly why: string };

/** Thrown by a flow that cannot be tried on this machine. */
export class NotHere extends Error {}

export const passed: Passed = { upgrade: "not asked" };

/** How a person is told what cures a refused connection: the command, or what some clients say instead, the id it takes. */
const remedy = /\.\/portreeve devices approve ([\w-]+)|\(requestId: ([\w-]+)\)/;

/**
 * Tries, and when the client shows the remedy does what it says and tries once more.
 * `attempt` answers what the client showed, and whether it did its work.
 */
export async function withApproval(rig: Rig, attempt: () => Promise<{ readonly shown: string; readonly done: boolean }>): Promise<Passed> {
  const first = await attempt();
  if (first.done) return passed;
  const found = remedy.exec(first.shown);
  const requestId = found?.[1] ?? found?.[2];
  if (requestId === undefined) throw new Error(`the client did not do it, and showed no remedy:\n${first.shown}`);
  await rig.approve(requestId);
  const second = await attempt();
  if (!second.done) throw new Error(`the approval did not cure it:\n${second.shown}`);
  return { upgrade: "cured" };
}

/** A message that lets the built-in model say exactly this, whatever was said before. */
export function sayScript(text: string): string {
  return `@script ${JSON.stringify([{ say: text }])}`;
}

/** The first object or list of JSON that is in a text: clients print notes before it. */
export function findJson(text: string): unknown {
  for (const [index, char] of [...text].entries()) {
    if (char !== "{" && char !== "[") continue;
    try {
      return JSON.parse([...text].slice(index).join("")) as unknown;
    } catch {
      continue;
    }
  }
  throw new Error(`no JSON in: ${text}`);
}

export function getRecord(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw new Error(`${what} is no object: ${JSON.stringify(value)}`);
  return value;
}
