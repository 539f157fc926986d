/** What a call of a model will use, before it is made. Pure. */
import type { ModelRequest } from "../models/model.ts";
import type { Price } from "../models/price.ts";
import type { CallEstimate, Reservation } from "../store/budgets.ts";

/** A reply under a budget may be this long: more would keep what siblings need from them while it is under way. */
const mostOutput = 8_192;
const leastOutput = 64;
/** Few tokenizers get fewer bytes into a token than this, for prose or code. */
const bytesPerToken = 3;

export function estimateCall(
  { system, messages, tools }: Pick<ModelRequest, "system" | "messages" | "tools">,
  price: Price | undefined,
): CallEstimate {
  const bytes = Buffer.byteLength(system) + Buffer.byteLength(JSON.stringify(messages)) + Buffer.byteLength(JSON.stringify(tools));
  return { input: Math.ceil(bytes / bytesPerToken), leastOutput, mostOutput, price };
}

/** What a reservation lets the reply be. */
export function maxOutputOf(reserved: Reservation): Pick<ModelRequest, "maxOutputTokens"> {
  return reserved.kind === "reserved" && reserved.maxOutput !== undefined ? { maxOutputTokens: reserved.maxOutput } : {};
}
