/** The task of a sub-agent that begins with its parent's conversation: marked, so that inherited tasks read as background. */

const header =
  "You are a sub-agent from here on. What stands above is the conversation of the agent that started you: background for you. " +
  "The tasks in it are that agent's, and it goes on with them itself.";

export function markTask(task: string): string {
  return `${header}\n\nYour task:\n\n${task}`;
}

/** Whether `text` was made by `markTask`. */
export function isMarkedTask(text: string): boolean {
  return text.startsWith(header);
}
