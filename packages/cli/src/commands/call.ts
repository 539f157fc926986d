/** `call METHOD [JSON]`: any method of the protocol, at the least scopes it needs. */
import { leastScopes } from "@portreeve/client";
import { isRecord } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, withExamples, type ConnectingFlags } from "../connecting.ts";
import { assertSaid, usageError } from "../exit.ts";
import { toJsonText, writeJson, type Io } from "../output.ts";

interface CallFlags extends ConnectingFlags {
  readonly scopes?: string;
}

export function addCall(program: Command, io: Io): void {
  const command = connecting(program.command("call <method> [json]").description("call a method of the protocol and print its result"));
  command.option(
    "--scopes <list>",
    "ask for exactly these scopes, separated by commas; empty for none (default: the least the method needs)",
  );
  withExamples(
    command,
    "./portreeve call health",
    `./portreeve call sessions.list '{"limit":5}'`,
    "./portreeve call status --scopes operator.admin",
  );
  command.action((method: string, json: string | undefined, flags: CallFlags) => {
    assertSaid(method, "method's name", { expected: "one such as health", remedy: "See the methods in docs/reference/methods.md." });
    return runCall(io, { method, params: parseParams(json), flags });
  });
}

/** The parameters as written; none is an empty object. @throws CliError when they are not a JSON object. */
export function parseParams(json: string | undefined): Record<string, unknown> {
  if (json === undefined || json.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw usageError(
      `The parameters are not JSON (${error instanceof Error ? error.message : String(error)}). Expected an object such as '{"limit":5}'.`,
    );
  }
  if (!isRecord(value)) throw usageError(`The parameters must be a JSON object such as '{"limit":5}'; got ${json}.`);
  return value;
}

/** `a, b` as a list; an empty text is an empty list, and an absent one leaves the choice open. */
export function parseScopes(list: string | undefined): readonly string[] | undefined {
  return list
    ?.split(",")
    .map((scope) => scope.trim())
    .filter((scope) => scope !== "");
}

async function runCall(
  io: Io,
  { method, params, flags }: { method: string; params: Record<string, unknown>; flags: CallFlags },
): Promise<void> {
  const access = await findAccess(io, flags);
  const isOwners = /^(device|node)\.(pair|token)\./.test(method);
  const scopes = parseScopes(flags.scopes);
  const least = leastScopes(method, params);
  // A device's own token without admin reaches that device alone.
  using client = await (isOwners ? access.openWithMost(scopes ?? ["operator.admin"], scopes ?? least) : access.open(scopes ?? least));
  const result = await client.request(method, params);
  if (flags.json === true) writeJson(io, result);
  else io.out(`${toJsonText(result, 2)}\n`);
}
