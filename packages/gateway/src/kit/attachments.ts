/** The files that a spawn hands to its child: what they may be called, how large they may be, how they are written down. Pure. */
import { ProtocolError, type Params } from "@portreeve/protocol";
import { cutText } from "./cut-text.ts";
import { type Withheld, withhold } from "./withheld.ts";

export type AskedAttachment = NonNullable<Params<"subagents.spawn">["attachments"]>[number];

export interface AttachmentLimits {
  readonly enabled: boolean;
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  readonly maxTotalBytes: number;
}

export interface Attachment {
  readonly name: string;
  readonly mimeType: string | undefined;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
  /** Undefined: all that is left of a call that was made before. */
  readonly content: Uint8Array | undefined;
}

const configPrefix = "agents.defaults.subagents.attachments";
/** What a file system takes for one name. */
const maxNameBytes = 255;
/** Devices of another system, whatever their extension: a copy of the folder could not hold them. */
const reserved = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;
/** Control characters, line ends, and what reorders or hides text. */
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\u200b\u2060\ufeff]/u;

/** @throws ProtocolError for the first that is not permitted: then nothing was decoded. */
export function decideAttachments(asked: readonly AskedAttachment[] | undefined, limits: AttachmentLimits): readonly Attachment[] {
  if (asked === undefined || asked.length === 0) return [];
  if (!limits.enabled) {
    throw new ProtocolError("ATTACHMENTS_OFF", `attachments are off; the operator turns them on with ${configPrefix}.enabled`, {
      details: { configKey: `${configPrefix}.enabled` },
      remedy: "put what the sub-agent needs into the task",
    });
  }
  assertBelow("maxFiles", asked.length, limits, `${asked.length} attachments`);
  assertNames(asked.map(({ name }) => name));
  const sizes = asked.map(sizeOf);
  for (const [index, bytes] of sizes.entries())
    assertBelow("maxFileBytes", bytes, limits, `${named(asked[index]?.name ?? "")}: ${bytes} bytes`);
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  assertBelow("maxTotalBytes", total, limits, `${total} bytes of attachments`);
  return asked.map(decode);
}

/** Whether that names the folder of a child's attachments. */
export function isAttachmentId(name: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(name);
}

/** Why no file may be called that, or undefined. */
export function problemWithName(name: string): string | undefined {
  if (name === "") return "it is empty";
  if (!name.isWellFormed() || name !== name.normalize("NFC")) return "it is not Unicode in the form NFC";
  if (Buffer.byteLength(name) > maxNameBytes) return `it has more than ${maxNameBytes} bytes`;
  if (/[/\\]/.test(name)) return "it is a path, and must be the name of one file";
  if (name.startsWith(".") || name.includes("..")) return 'it begins with a dot, or holds ".."';
  if (unseen.test(name)) return "it holds characters that nobody sees";
  if (/^\s|[\s.]$/.test(name)) return "it begins with white space, or ends with white space or a dot";
  return reserved.test(name) ? "it is the name of a device elsewhere" : undefined;
}

function assertNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    const folded = name.toUpperCase().toLowerCase().normalize("NFC");
    const problem = problemWithName(name) ?? (seen.has(folded) ? "another one is called that, capitals aside" : undefined);
    if (problem !== undefined)
      throw unusable(`${named(name)} cannot be the name of an attachment: ${problem}`, 'use one plain name a file, such as "notes.md"');
    seen.add(folded);
  }
}

function assertBelow(key: "maxFiles" | "maxFileBytes" | "maxTotalBytes", actual: number, limits: AttachmentLimits, what: string): void {
  if (actual <= limits[key]) return;
  const configKey = `${configPrefix}.${key}`;
  throw new ProtocolError("ATTACHMENT_LIMIT", `${what}; the operator allows at most ${limits[key]} (${configKey})`, {
    details: { configKey, limit: limits[key], actual },
    remedy: "hand over less, or let the sub-agent read it from the workspace",
  });
}

/** Without decoding: of base64 that is not in its one form, what it would be at most. */
function sizeOf({ content, encoding }: AskedAttachment): number {
  if (typeof content !== "string") return content.bytes;
  if (encoding !== "base64") return Buffer.byteLength(content);
  const padding = content.endsWith("==") ? 2 : content.endsWith("=") ? 1 : 0;
  return Math.ceil(content.length / 4) * 3 - padding;
}

function decode({ name, mimeType, content, encoding }: AskedAttachment): Attachment {
  if (typeof content !== "string") return { name, mimeType, bytes: content.bytes, sha256: content.sha256, content: undefined };
  const decoded = encoding === "base64" ? decodeBase64(content) : content.isWellFormed() ? Buffer.from(content) : undefined;
  if (decoded === undefined) {
    const expected = encoding === "base64" ? "base64 (A-Z a-z 0-9 + /, padded with =, no white space)" : "text in Unicode";
    throw unusable(`the content of ${named(name)} is not ${expected}`, "send it again in that form");
  }
  const { bytes, sha256 } = withhold(decoded);
  return { name, mimeType, bytes, sha256, content: decoded };
}

/** Undefined unless `text` is the one way to write its bytes. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const decoded = Buffer.from(text, "base64");
  return decoded.toString("base64") === text ? decoded : undefined;
}

/** A spawn's arguments as they may be kept, whatever a model put there: no content, only how much and which. */
export function redactAttachments(args: unknown): unknown {
  // Arguments that could not be read are one text, and a list is not what was asked for.
  if (typeof args === "string" || Array.isArray(args)) return withholdValue(args);
  if (!isRecord(args)) return args;
  // Misspelt, it is refused, and was said all the same.
  const found = Object.keys(args).filter((key) => /^attach/i.test(key));
  if (found.length === 0) return args;
  const redacted = found.map((key) => [key, Array.isArray(args[key]) ? args[key].map(redactOne) : withholdValue(args[key])] as const);
  return { ...args, ...Object.fromEntries(redacted) };
}

const kept: readonly string[] = ["name", "encoding", "mimeType"];

function redactOne(attachment: unknown): unknown {
  if (!isRecord(attachment)) return withholdValue(attachment);
  const isBase64 = attachment["encoding"] === "base64";
  return Object.fromEntries(
    Object.entries(attachment).map(([key, value]) => {
      const isShort = kept.includes(key) && typeof value === "string" && Buffer.byteLength(value) <= maxNameBytes;
      return [key, isShort ? value : withholdValue(value, isBase64 && key === "content")];
    }),
  );
}

function withholdValue(value: unknown, isBase64 = false): Withheld {
  if (typeof value !== "string") return withhold(Buffer.from(JSON.stringify(value) ?? ""));
  return withhold((isBase64 ? decodeBase64(value) : undefined) ?? Buffer.from(value));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function named(name: string): string {
  return JSON.stringify(name.length > 100 ? `${cutText(name, 0, 100)}…` : name);
}

function unusable(message: string, remedy: string): ProtocolError {
  return new ProtocolError("ATTACHMENT_UNUSABLE", message, { remedy });
}
