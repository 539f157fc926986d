/** How an invocation ended, as its caller hears it. Pure. */
import { limits, ProtocolError, type Result } from "@portreeve/protocol";
import type { InvokeOutcome } from "./invocations.ts";

type Asked = { readonly nodeId: string; readonly command: string };

/** @throws ProtocolError for every end but an answer. */
export function toAnswer(outcome: InvokeOutcome, { nodeId, command }: Asked): Result<"node.invoke"> {
  switch (outcome.kind) {
    case "answered":
      return { ok: true, nodeId, command, payload: outcome.payload, payloadJSON: outcome.payloadJSON };
    case "failed":
      throw nodeError(outcome.code, outcome.message);
    case "timed-out":
      throw nodeError("TIMEOUT", "node invoke timed out");
    case "cancelled":
      throw new ProtocolError(
        "ANSWER_NOT_KEPT",
        "the command was sent with this idempotency key, and cancelled when its caller went away",
        {
          ...wasSent,
          remedy: unknownEnd,
        },
      );
    case "disconnected":
      throw notConnected("node disconnected before it answered", { ...wasSent, remedy: unknownEnd });
    case "pairing-changed":
      throw new ProtocolError("PAIRING_CHANGED", "what is approved for the node changed before it answered", {
        ...wasSent,
        remedy: unknownEnd,
      });
    case "too-large":
      throw new ProtocolError("PAYLOAD_TOO_LARGE", `the node's answer is larger than ${limits.nodePayloadBytes} bytes`, wasSent);
  }
}

export function notConnected(message: string, options: ConstructorParameters<typeof ProtocolError>[2] = {}): ProtocolError {
  return new ProtocolError("NOT_CONNECTED", message, {
    remedy: "See which nodes are connected with: ./portreeve nodes list",
    ...options,
  });
}

export function nodeUnapproved(): ProtocolError {
  return new ProtocolError("PAIRING_CHANGED", "nothing is approved for the node", {
    remedy: "See what waits with: ./portreeve nodes list; approve it with: ./portreeve nodes approve ID",
  });
}

export function commandNotAllowed(command: string, why: string): ProtocolError {
  const short = command.slice(0, 200);
  return new ProtocolError("COMMAND_NOT_ALLOWED", `node command not allowed: ${JSON.stringify(short)} ${why}`, {
    details: { reason: "command not allowlisted", command: short },
    remedy: "See what a node declares and what of it is approved with: ./portreeve nodes list",
  });
}

/** The node's own words stand in the message: cut, since it may say as much as it likes. */
function nodeError(code: string, message: string): ProtocolError {
  const said = { code: code.slice(0, 100), message: message.slice(0, 2_000) };
  return new ProtocolError("NODE_ERROR", `${said.code}: ${said.message}`, {
    details: { nodeError: said, ...wasSent.details },
  });
}

const wasSent = { details: { nodeCommandDispatched: true } };
const unknownEnd = "Whether the command ran is not known: look on the node before you send it again with another idempotencyKey.";
