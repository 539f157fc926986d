/** What an editor sends as a prompt, as the one message that an agent is told. Pure. */
import { isRecord } from "@portreeve/protocol/wire";
import { RpcError, rpcCodes } from "./rpc.ts";

/** @throws RpcError for what cannot be told in words */
export function toMessage(prompt: unknown): string {
  if (!Array.isArray(prompt)) throw invalid("prompt must be an array of content blocks");
  const message = prompt.map(toText).join("\n\n").trim();
  if (message === "") throw invalid("the prompt is empty");
  return message;
}

function toText(block: unknown, index: number): string {
  const at = `prompt[${index}]`;
  if (!isRecord(block)) throw invalid(`${at} is no content block`);
  switch (block["type"]) {
    case "text":
      return string(block["text"], `${at}.text`);
    case "resource_link":
      return `[${string(block["name"], `${at}.name`)}](${string(block["uri"], `${at}.uri`)})`;
    case "resource":
      return toQuoted(block["resource"], at);
    default:
      throw invalid(`${at} is of type ${JSON.stringify(block["type"])?.slice(0, 100)}: agents here are told text, links and files of text`);
  }
}

/** A file's text as the editor has it, between marks that name it. */
function toQuoted(resource: unknown, at: string): string {
  if (!isRecord(resource) || typeof resource["text"] !== "string") throw invalid(`${at}.resource is no text: agents here are told text`);
  const uri = string(resource["uri"], `${at}.resource.uri`);
  return `[begin of ${uri}]\n${resource["text"]}\n[end of ${uri}]`;
}

function string(value: unknown, at: string): string {
  if (typeof value !== "string") throw invalid(`${at} must be text`);
  return value;
}

function invalid(message: string): RpcError {
  return new RpcError(rpcCodes.invalidParams, message);
}
