/** Whether the demo's closing line (standard input) says what the demo is for. Prints every wrong value; exit code 1 when there is one. */
import { text } from "node:stream/consumers";

const expected = { selfSockets: 0, pairingPrompts: 0, children: { accepted: 2, completed: 2, announced: 2 } };

/** What `line` has wrong, one sentence each. */
export function listDemoProblems(line: string): readonly string[] {
  let summary: unknown;
  try {
    summary = JSON.parse(line);
  } catch {
    return [`the last line is not JSON: ${JSON.stringify(line.slice(0, 200))}`];
  }
  const { answer, model, ...counts } = toRecord(summary);
  return [
    ...(typeof answer === "string" && answer.trim() !== "" ? [] : ["answer: expected a text"]),
    ...(typeof model === "string" && model.startsWith("scripted") ? [] : [`model: expected scripted, got ${JSON.stringify(model)}`]),
    ...Object.entries(expected).flatMap(([name, value]) => compare(name, value, counts[name])),
  ];
}

function compare(name: string, expectedValue: unknown, actual: unknown): string[] {
  if (typeof expectedValue === "object")
    return Object.entries(toRecord(expectedValue)).flatMap(([key, value]) => compare(`${name}.${key}`, value, toRecord(actual)[key]));
  return actual === expectedValue ? [] : [`${name}: expected ${JSON.stringify(expectedValue)}, got ${JSON.stringify(actual)}`];
}

function toRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

if (import.meta.main) {
  const problems = listDemoProblems((await text(process.stdin)).trim());
  for (const problem of problems) console.log(`demo: ${problem}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
