/**
 * The scripts of the built-in model: `@script [step, …]` on a line of a user message. Here is what a script says next,
 * decided from the conversation alone; `scripted.ts` says it.
 */
import { z } from "zod";
import { readCompletions, type QuotedCompletion } from "./completion-text.ts";
import { isRepairRequest } from "./repair-text.ts";
import { isQuoted } from "./summary-text.ts";
import { isMarkedTask } from "./fork-text.ts";
import type { ModelErrorKind, ModelMessage, ToolCall } from "./model.ts";

/** The last paragraph of every reply of the built-in model that ends a turn. */
export const footer =
  "(From the built-in scripted model, which does not think. For a real one, set agents.defaults.model to provider/name in " +
  "config.json5 with that provider under models.providers, or put ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY into the " +
  "gateway's environment.)";

/** What the model does now. */
export type Action =
  | { readonly kind: "say"; readonly text: string }
  | { readonly kind: "call"; readonly text: string; readonly calls: readonly ToolCall[] }
  | { readonly kind: "hang" }
  | { readonly kind: "fail"; readonly errorKind: ModelErrorKind; readonly retryable: boolean };

/** The next reply of the conversation's script, or undefined when none is to be answered by one. */
export function nextAction(conversation: readonly ModelMessage[]): Action | undefined {
  // What a sub-agent inherited is background: the scripts in it are its parent's.
  const messages = conversation.slice(Math.max(0, conversation.findLastIndex(isTaskAfterFork)));
  const at = messages.findLastIndex((message) => scriptIn(message) !== undefined);
  const script = messages[at] === undefined ? undefined : scriptIn(messages[at]);
  if (script === undefined) return undefined;
  const { own, isOver } = findOwn(messages.slice(at + 1));
  if (isOver) return undefined;
  const parsed = parseScript(script);
  if (parsed.kind === "bad") return { kind: "say", text: `The @script line cannot be used: ${parsed.problem}` };
  return actionAt(parsed.steps, readSince(own), nextCallNumber(messages));
}

/**
 * What of the messages since the script is the script's: its run, and whatever its children's results began. A message after a
 * reply that ended the run is none of it, and neither are the replies to that; one that came amid the run, or with results, is.
 */
function findOwn(messages: readonly ModelMessage[]): { readonly own: readonly ModelMessage[]; readonly isOver: boolean } {
  const own: ModelMessage[] = [];
  let isOver = false;
  for (const [index, message] of messages.entries()) {
    if (completionsIn(message).length > 0) isOver = false;
    else if (isOfAPerson(message) && endsRun(messages[index - 1])) isOver = true;
    if (!isOver) own.push(message);
  }
  return { own, isOver };
}

function isOfAPerson(message: ModelMessage): boolean {
  const text = textOf(message);
  return message.role === "user" && !isQuoted(text) && !isRepairRequest(text);
}

function endsRun(message: ModelMessage | undefined): boolean {
  return message?.role === "assistant" && !message.content.some((block) => block.type === "toolCall");
}

function isTaskAfterFork(message: ModelMessage): boolean {
  return message.role === "user" && isMarkedTask(textOf(message));
}

/** The results of sub-agents that a message carries, or none. */
export function completionsIn(message: ModelMessage): readonly QuotedCompletion[] {
  if (message.role !== "user") return [];
  return message.content.flatMap((block) => (block.type === "text" ? readCompletions(block.text) : []));
}

/** One paragraph a sub-agent, without the footer of its own reply. */
export function listCompletions(completions: readonly QuotedCompletion[]): string {
  return completions
    .map(({ label, childSessionKey, text }) => `${label ?? childSessionKey}: ${text.split(`\n\n${footer}`)[0] ?? ""}`)
    .join("\n\n");
}

export function textOf(message: ModelMessage): string {
  return message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n");
}

export function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars).toWellFormed()}…`;
}

// ---- reading the script

const errorKinds = [
  "unusable",
  "auth",
  "rate_limit",
  "overloaded",
  "network",
  "incomplete",
  "context_length",
  "refused",
  "aborted",
  "unknown",
] as const satisfies readonly ModelErrorKind[];

const call = z.strictObject({ tool: z.string().min(1), args: z.record(z.string(), z.unknown()).default({}) });
const stepSchemas = {
  call: z.strictObject({ call: z.array(call).min(1), say: z.string().optional() }),
  say: z.strictObject({ say: z.string() }),
  awaitChildren: z.strictObject({ awaitChildren: z.literal(true) }),
  hang: z.strictObject({ hang: z.literal(true) }),
  fail: z.strictObject({ fail: z.strictObject({ kind: z.enum(errorKinds), retryable: z.boolean() }) }),
};
type Step = { [K in keyof typeof stepSchemas]: z.output<(typeof stepSchemas)[K]> }[keyof typeof stepSchemas];
type Parsed = { readonly kind: "script"; readonly steps: readonly Step[] } | { readonly kind: "bad"; readonly problem: string };

/** Sub-agents' results and summaries are data: a line in them is no script. */
function scriptIn(message: ModelMessage): string | undefined {
  if (message.role !== "user" || completionsIn(message).length > 0 || isQuoted(textOf(message))) return undefined;
  return /^@script (.*)$/m.exec(textOf(message))?.[1];
}

function parseScript(text: string): Parsed {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return {
      kind: "bad",
      problem: `what follows @script on its line is not JSON (${error instanceof Error ? error.message : String(error)})`,
    };
  }
  if (!Array.isArray(json)) return { kind: "bad", problem: "what follows @script must be a JSON array of steps" };
  const steps: Step[] = [];
  for (const [index, value] of json.entries()) {
    const step = parseStep(value);
    if (typeof step === "string") return { kind: "bad", problem: `step ${index + 1}: ${step}` };
    steps.push(step);
  }
  return { kind: "script", steps };
}

/** The step, or what is wrong with it. */
function parseStep(value: unknown): Step | string {
  const kinds = Object.keys(stepSchemas) as (keyof typeof stepSchemas)[]; // Object.keys forgets what it was given.
  const kind = kinds.find((one) => typeof value === "object" && value !== null && Object.hasOwn(value, one));
  if (kind === undefined) return `expected an object with one of ${kinds.join(", ")}; got ${cut(JSON.stringify(value), 80)}`;
  const parsed = stepSchemas[kind].safeParse(value);
  return parsed.success ? parsed.data : z.prettifyError(parsed.error).replaceAll(/\s+/g, " ");
}

// ---- what happened since the script

interface Since {
  /** Replies of the model, without those that `awaitChildren` made. */
  readonly replies: number;
  readonly results: readonly string[];
  readonly completions: readonly QuotedCompletion[];
  /** Children that were accepted and whose result has not come. */
  readonly openChildren: number;
}

function readSince(messages: readonly ModelMessage[]): Since {
  const results = messages.flatMap((message) => message.content.filter((block) => block.type === "toolResult"));
  const completions = messages.flatMap(completionsIn);
  const accepted = results.filter((result) => result.toolName === "sessions_spawn" && isAccepted(result.text)).length;
  const replies = messages.filter(
    (message) => message.role === "assistant" && !message.content.some((block) => block.type === "toolCall" && waitId.test(block.id)),
  );
  return {
    replies: replies.length,
    results: results.map((result) => result.text),
    completions,
    openChildren: accepted - completions.length,
  };
}

function isAccepted(text: string): boolean {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null && "status" in json && json.status === "accepted";
  } catch {
    return false;
  }
}

// ---- choosing the step

const callId = /^scripted_(\d+)_/;
const waitId = /^scripted_\d+_wait$/;

/** One more than any before it in the conversation: the same for the same conversation, and never used twice in it. */
function nextCallNumber(messages: readonly ModelMessage[]): number {
  const numbers = messages.flatMap((message) =>
    message.content.map((block) => (block.type === "toolCall" ? Number(callId.exec(block.id)?.[1] ?? 0) : 0)),
  );
  return numbers.reduce((most, number) => Math.max(most, number), 0) + 1;
}

function actionAt(steps: readonly Step[], since: Since, callNumber: number): Action {
  let repliesToSkip = since.replies;
  for (const step of steps) {
    if ("awaitChildren" in step) {
      if (repliesToSkip > 0 || since.openChildren <= 0) continue;
      return { kind: "call", text: "", calls: [{ id: `scripted_${callNumber}_wait`, name: "sessions_yield", arguments: {} }] };
    }
    if (repliesToSkip === 0) return actionOf(step, since, callNumber);
    repliesToSkip -= 1;
  }
  return { kind: "say", text: "Done: every step of the script was taken." };
}

function actionOf(step: Exclude<Step, { awaitChildren: true }>, since: Since, callNumber: number): Action {
  if ("hang" in step) return { kind: "hang" };
  if ("fail" in step) return { kind: "fail", errorKind: step.fail.kind, retryable: step.fail.retryable };
  if (!("call" in step)) return { kind: "say", text: fill(step.say, since) };
  const calls = step.call.map(({ tool, args }, index) => ({ id: `scripted_${callNumber}_${index + 1}`, name: tool, arguments: args }));
  return { kind: "call", text: fill(step.say ?? "", since), calls };
}

// ---- templates

const maxResultChars = 2_000;

/** Replaces `{{result:N}}`, `{{head:N:L}}`, `{{lines:N}}` and `{{children}}`; results are not templates themselves. */
function fill(template: string, { results, completions }: Since): string {
  return template.replaceAll(
    /\{\{(?:children|(result|lines):(\d+)|head:(\d+):(\d+))\}\}/g,
    (_match, what?: string, number?: string, headNumber?: string, headLines?: string) => {
      const index = number ?? headNumber;
      if (index === undefined) return listCompletions(completions);
      const result = results[Number(index) - 1];
      if (result === undefined) return `(there is no tool result ${index})`;
      if (what === "lines") return String(result.split("\n").filter((line) => line.trim() !== "").length);
      return what === "result"
        ? cut(result, maxResultChars)
        : cut(result.split("\n").slice(0, Number(headLines)).join("\n"), maxResultChars);
    },
  );
}
