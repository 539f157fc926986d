/** What a run is told whose last message is not the value that was asked for: its own, and no message of a person. */

const header = "Your last message is not the value that was asked for: ";

export function askForRepair(problem: string): string {
  return `${header}${problem}. Answer with that JSON value alone.`;
}

/** Whether `text` was made by `askForRepair`. */
export function isRepairRequest(text: string): boolean {
  return text.startsWith(header);
}
