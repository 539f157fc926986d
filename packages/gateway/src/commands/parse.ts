/** Slash commands: what a person wrote, as what is meant. Text that is no command of ours is left alone. Pure. */
import { type ThinkingLevel, thinkingLevels } from "@portreeve/protocol";

export type Command =
  | { readonly kind: "help" }
  | { readonly kind: "status" }
  | { readonly kind: "stop" }
  | SubagentsCommand
  /** A command of ours that is not written as it must be. */
  | { readonly kind: "mistake"; readonly problem: string };

export type SubagentsCommand =
  | { readonly kind: "list"; readonly depth: "children" | "all" }
  | { readonly kind: "info"; readonly subagent: string }
  | { readonly kind: "log"; readonly subagent: string; readonly limit: number; readonly withTools: boolean }
  | { readonly kind: "send" | "steer"; readonly subagent: string; readonly text: string }
  | { readonly kind: "kill"; readonly subagent: string | "all" }
  | {
      readonly kind: "spawn";
      readonly agentId: string;
      readonly task: string;
      readonly model: string | undefined;
      readonly thinking: ThinkingLevel | undefined;
    };

/** What `/help` says, and how each is written. */
export const commandLines: readonly (readonly [usage: string, about: string])[] = [
  ["/help", "this list"],
  ["/status", "how this session stands: model, context, tokens, what works and waits"],
  ["/stop", "stop this session's runs and everything they delegated"],
  ["/subagents list [all]", "the sub-agents of this session, or also theirs"],
  ["/subagents info SUBAGENT", "who asked, state, attempts, and what became of its result"],
  ["/subagents log SUBAGENT [COUNT] [tools]", "what was said in its session"],
  ["/subagents send SUBAGENT TEXT", "a message to it, for a turn of its own"],
  ["/subagents steer SUBAGENT TEXT", "a message that it reads before its next step"],
  ["/subagents kill SUBAGENT|all", "stop it and everything below it"],
  ["/subagents spawn AGENT TASK [--model PROVIDER/NAME] [--thinking LEVEL]", "start one"],
];

const defaultLog = 20;
const mostLog = 200;
const aliases: Readonly<Record<string, "help" | "status" | "stop">> = {
  "/help": "help",
  "/status": "status",
  "/stop": "stop",
  "/abort": "stop",
};

/** The command that `text` is; undefined: it is for the model, as it stands. */
export function parseCommand(text: string): Command | undefined {
  const trimmed = text.trim();
  const whole = trimmed.toLowerCase();
  const simple = Object.hasOwn(aliases, whole) ? aliases[whole] : undefined;
  if (simple !== undefined) return { kind: simple };
  const [, rest] = /^\/subagents(?:\s+([^]*))?$/i.exec(trimmed) ?? [undefined, undefined];
  return /^\/subagents(\s|$)/i.test(trimmed) ? parseSubagents(rest ?? "") : undefined;
}

function parseSubagents(text: string): Command {
  const { word: action = "list", rest } = firstWord(text);
  const name = action.toLowerCase();
  return Object.hasOwn(actions, name) && actions[name] !== undefined
    ? actions[name](rest)
    : mistake(`there is no action ${JSON.stringify(action)}`);
}

const actions: Readonly<Record<string, (rest: string) => Command>> = {
  list: (rest) => {
    if (rest === "") return { kind: "list", depth: "children" };
    return rest.toLowerCase() === "all" ? { kind: "list", depth: "all" } : mistake("list takes nothing but `all`");
  },
  info: (rest) => onlySubagent(rest, "info", (subagent) => ({ kind: "info", subagent })),
  kill: (rest) => onlySubagent(rest, "kill", (subagent) => ({ kind: "kill", subagent })),
  log: parseLog,
  send: (rest) => withText(rest, "send"),
  steer: (rest) => withText(rest, "steer"),
  spawn: parseSpawn,
};

function onlySubagent(text: string, action: string, make: (subagent: string) => Command): Command {
  const { word: subagent, rest } = firstWord(text);
  return subagent === undefined || rest !== ""
    ? mistake(`${action} takes one sub-agent; write a name with spaces in "quotes"`)
    : make(subagent);
}

function parseLog(text: string): Command {
  const { word: subagent, rest } = firstWord(text);
  const words = rest === "" ? [] : rest.toLowerCase().split(/\s+/);
  const counts = words.filter((word) => /^\d{1,9}$/.test(word));
  const withTools = words.includes("tools");
  if (subagent === undefined || counts.length > 1 || words.length > counts.length + Number(withTools))
    return mistake("log takes a sub-agent, a count and `tools`");
  const limit = counts[0] === undefined ? defaultLog : Number(counts[0]);
  if (limit < 1 || limit > mostLog) return mistake(`the count must be from 1 to ${mostLog}`);
  return { kind: "log", subagent, limit, withTools };
}

function withText(text: string, kind: "send" | "steer"): Command {
  const { word: subagent, rest } = firstWord(text);
  return subagent === undefined || rest === "" ? mistake(`${kind} takes a sub-agent and a text`) : { kind, subagent, text: rest };
}

function parseSpawn(text: string): Command {
  const { word: agentId, rest } = firstWord(text);
  const options: Record<string, string> = {};
  // Options stand at the end: inside of a task they are its own words.
  let task = rest;
  for (let found = lastOption(task); found !== undefined; found = lastOption(task)) {
    if (Object.hasOwn(options, found.name)) return mistake(`--${found.name} is there twice`);
    options[found.name] = found.value;
    task = found.before;
  }
  if (agentId === undefined || task === "") return mistake("spawn takes an agent and a task");
  const thinking = thinkingLevels.find((level) => level === options["thinking"]);
  if (thinking !== options["thinking"]) return mistake(`--thinking takes one of ${thinkingLevels.join(", ")}`);
  return { kind: "spawn", agentId, task, model: options["model"], thinking };
}

function lastOption(text: string): { readonly before: string; readonly name: string; readonly value: string } | undefined {
  const [, before, name, value] = /^([^]*?)(?:^|\s)--(model|thinking)\s+(\S+)\s*$/.exec(text) ?? [];
  return before === undefined || name === undefined || value === undefined ? undefined : { before: before.trim(), name, value };
}

/** `"two words" rest`, or `word rest`. */
function firstWord(text: string): { readonly word: string | undefined; readonly rest: string } {
  const [, quoted, bare, rest = ""] = /^\s*(?:"([^"]+)"|(\S+))\s*([^]*)$/.exec(text) ?? [];
  return { word: quoted ?? bare, rest: rest.trim() };
}

function mistake(problem: string): Command {
  return { kind: "mistake", problem };
}
