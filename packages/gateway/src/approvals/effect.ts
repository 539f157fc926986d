/** What is approved: not a text but one exact effect, and its digest. Whatever differs in it is another effect. Pure. */
import { createHash } from "node:crypto";

export interface Effect {
  readonly host: string;
  readonly nodeId: string | null;
  /** Undefined argv: a line for a shell. */
  readonly argv: readonly string[] | undefined;
  readonly commandLine: string | undefined;
  /** The plan's own words for it: shown to nobody here, and to whoever runs it the same as asked. */
  readonly planText: string | undefined;
  readonly cwd: string | null;
  readonly env: Readonly<Record<string, string>>;
  readonly agentId: string | null;
  readonly sessionKey: string | null;
  /** A file that the program reads and that must not have changed. */
  readonly file: { readonly argvIndex: number; readonly path: string; readonly sha256: string } | null;
}

export function bindingOf(effect: Effect): string {
  const { host, nodeId, argv, commandLine, planText, cwd, env, agentId, sessionKey, file } = effect;
  const variables = Object.entries(env).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const operand = file === null ? null : [file.argvIndex, file.path, file.sha256];
  const parts = ["exec", host, nodeId, argv ?? null, commandLine ?? null, planText ?? null, cwd, variables, agentId, sessionKey, operand];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/**
 * What may be set for a program that is approved: how it writes, not what it does. Any other variable may make a program load
 * or run something else than its arguments say, under the same words.
 */
const settable = /^(LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|COLORTERM|NO_COLOR|FORCE_COLOR|CLICOLOR|COLUMNS|LINES|CI)$/;

/** The names in `env` that may not be set. */
export function unsettableIn(env: Readonly<Record<string, string>>): readonly string[] {
  return Object.keys(env).filter((name) => !settable.test(name));
}
