/** Anthropic's Messages API. */
import { createAnthropic } from "@ai-sdk/anthropic";
import type { LanguageModelV4 } from "@ai-sdk/provider";
import { z } from "zod";
import { askAboutThinking, type Bounds, createAiSdkModel, fetchNothing, type KeyedAccess, toPlainBounds } from "./ai-sdk.ts";
import { httpFetch } from "./http-fetch.ts";
import type { Model, ModelMessage, ModelRequest } from "./model.ts";

export function openAnthropic(access: KeyedAccess): (name: string) => Model {
  const settings = { baseURL: access.baseUrl, apiKey: access.apiKey.reveal() };
  const provider = createAnthropic({ ...settings, fetch: httpFetch });
  const dry = createAnthropic({ ...settings, fetch: fetchNothing });
  return (name) =>
    createAiSdkModel(provider(name), access, {
      hasPlainCallIds: true,
      toBounds: (request) => toBounds(dry(name), request),
      problemWithThinking: (level) => askAboutThinking(dry(name), level),
    });
}

/** What the API takes as a budget for thought. */
const leastThought = 1_024;

/**
 * A model up to Claude 4.5 thinks within a budget, with two rules. After tool calls it goes on only with the thought that led to
 * them, signed, which no transcript holds: there it goes on without. And the package adds the budget to what the reply may be,
 * which the run has reserved for both: there thought gets no more than half of it.
 */
async function toBounds(dryModel: LanguageModelV4, request: ModelRequest): Promise<Bounds> {
  const bounds = toPlainBounds(request);
  const { reasoning, maxOutputTokens } = bounds;
  const budget = reasoning === undefined || reasoning === "none" ? undefined : await budgetOf(dryModel, reasoning);
  if (budget === undefined) return bounds;
  const withoutThought: Bounds = maxOutputTokens === undefined ? {} : { maxOutputTokens };
  if (isAfterCalls(request.messages)) return withoutThought;
  if (maxOutputTokens === undefined) return bounds;
  const budgetTokens = Math.min(budget, Math.floor(maxOutputTokens / 2));
  if (budgetTokens < leastThought) return withoutThought;
  return {
    maxOutputTokens: maxOutputTokens - budgetTokens,
    providerOptions: { anthropic: { thinking: { type: "enabled", budgetTokens } } },
  };
}

const bodyWithBudget = z.object({ thinking: z.object({ budget_tokens: z.number() }) });

/** The tokens that the package gives the model for thought; undefined when the model decides by itself. */
async function budgetOf(dryModel: LanguageModelV4, reasoning: NonNullable<Bounds["reasoning"]>): Promise<number | undefined> {
  const { request } = await dryModel.doStream({ prompt: [{ role: "user", content: [{ type: "text", text: "." }] }], reasoning });
  return bodyWithBudget.safeParse(request?.body).data?.thinking.budget_tokens;
}

/** The model has not spoken since the results of its calls; what a person said meanwhile is part of the same turn. */
function isAfterCalls(messages: readonly ModelMessage[]): boolean {
  const lastSaid = messages.findLastIndex(({ role }) => role === "assistant");
  return messages.slice(lastSaid + 1).some(({ role }) => role === "toolResult");
}
