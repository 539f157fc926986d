/** Messages that drive the built-in model: one step, one model reply. */

export interface ToolStep {
  readonly tool: string;
  readonly args: object;
}

export type Step =
  | { readonly say: string }
  | { readonly call: readonly ToolStep[] }
  | { readonly awaitChildren: true }
  | { readonly hang: true }
  | { readonly fail: { readonly kind: string; readonly retryable: boolean } };

/** `text`, followed by what the model is to do. */
export function script(text: string, ...steps: readonly Step[]): string {
  return `${text}\n@script ${JSON.stringify(steps)}`;
}

/** A call of `sessions_spawn` whose child says `answer`, or takes the given steps. */
export function spawnStep(label: string, ...steps: readonly Step[]): ToolStep {
  return { tool: "sessions_spawn", args: { label, task: script(`do ${label}`, ...steps) } };
}
