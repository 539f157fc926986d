/** The JSON body of a request: bytes in, a parsed value or the exact complaint out. Pure. */
import { ProtocolError } from "@portreeve/protocol";
import type { z } from "zod";

/** What a body may hold. A field that is in none of the three is refused. */
export interface BodyShape<P extends z.ZodType> {
  readonly fields: P;
  /** Accepted without effect, and said so in the answer: whether an agent's reply is what was asked for does not hang on them. */
  readonly ignored: readonly string[];
  /** Whoever sends them relies on them: refused by name, unless they ask for nothing. */
  readonly unsupported: readonly string[];
}

export interface ParsedBody<P extends z.ZodType> {
  readonly value: z.output<P>;
  /** Which of the ignored fields there were. */
  readonly ignored: readonly string[];
}

/** @throws ProtocolError INVALID_PARAMS, NOT_SUPPORTED; `details.param` is where */
export function parseBody<P extends z.ZodType>(bytes: Buffer, shape: BodyShape<P>): ParsedBody<P> {
  const json = parseJson(bytes);
  const ignored: string[] = [];
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    if (shape.ignored.includes(key)) ignored.push(key);
    else if (!shape.unsupported.includes(key)) define(kept, key, value);
    else if (!isNeutral(value)) throw notSupported(key);
  }
  const parsed = shape.fields.safeParse(kept, { reportInput: true });
  if (parsed.success) return { value: parsed.data, ignored };
  throw toError(parsed.error);
}

export function notSupported(param: string): ProtocolError {
  return new ProtocolError("NOT_SUPPORTED", `not supported: ${param}`, {
    details: { param },
    remedy: "leave it out; the guide on OpenAI's API says what is taken",
  });
}

export function invalid(param: string, message: string): ProtocolError {
  return new ProtocolError("INVALID_PARAMS", message, { details: { param } });
}

function parseJson(bytes: Buffer): object {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new ProtocolError("INVALID_PARAMS", "The request's body is not JSON.");
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new ProtocolError("INVALID_PARAMS", "The request's body is not a JSON object.");
  return json;
}

/** Assignment would run the setter of `__proto__` and hide the key from the schema. */
function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function isNeutral(value: unknown): boolean {
  return value === null || value === false || value === "" || value === "none" || (Array.isArray(value) && value.length === 0);
}

function toError({ issues }: z.ZodError): ProtocolError {
  const [issue] = issues;
  if (issue === undefined) throw new Error("a parse that failed has an issue");
  if (issue.code === "unrecognized_keys") {
    const param = toParam([...issue.path, issue.keys[0] ?? ""]);
    return invalid(param, `Unknown parameter: '${cut(param)}'.`);
  }
  const param = toParam(issue.path);
  if (issue.input === undefined) return invalid(param, `Missing required parameter: '${param}'.`);
  return invalid(param, `Invalid '${param}': ${cut(issue.message)}`);
}

function toParam(path: readonly PropertyKey[]): string {
  return path.map((part, index) => (typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${String(part)}`)).join("");
}

function cut(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
