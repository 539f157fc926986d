/** What a model says that has nothing to say. Understood as an exact whole message alone: inside prose they are prose. */

export const silences = ["NO_REPLY", "ANNOUNCE_SKIP"] as const;

/** `NO_REPLY`: this turn answers nobody. `ANNOUNCE_SKIP`: a sub-agent's result is to be told to nobody. */
export type Silence = (typeof silences)[number];

export function silenceOf(text: string): Silence | undefined {
  return silences.find((one) => text.trim() === one);
}

/** Whether `text` is a silence, or may be the beginning of one. */
export function mayBeSilence(text: string): boolean {
  return silences.some((one) => one.startsWith(text.trim()));
}
