/** How a command ends: its exit code, and what is said when it failed. */
import { addressOf, ConnectionError, DamagedFileError, RemoteError, type ConnectionErrorKind } from "@portreeve/client";
import { CommanderError } from "commander";
import { toNextStep } from "./next-steps.ts";
import { plain, toJsonText, type Io } from "./output.ts";

export const exitCodes = {
  ok: { code: 0, meaning: "success" },
  failed: { code: 1, meaning: "the gateway refused, or the run or the gateway's start failed" },
  usage: { code: 2, meaning: "the command line is wrong" },
  unreachable: { code: 3, meaning: "no gateway answers, or the connection was lost" },
  unauthorised: { code: 4, meaning: "pairing or authorisation is needed" },
  timeout: { code: 5, meaning: "no answer or no end in time" },
} as const;

export type Exit = keyof typeof exitCodes;

/** A failure that the command line itself finds. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exit: Exclude<Exit, "ok">;
  readonly code: string;
  readonly remedy: string | undefined;

  constructor(exit: Exclude<Exit, "ok">, message: string, options: { code?: string; remedy?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exit = exit;
    this.code = options.code ?? exit.toUpperCase();
    this.remedy = options.remedy;
  }
}

/** What is wrong with the command line itself, and what was expected. */
export function usageError(message: string, remedy = "See `./portreeve --help`."): CliError {
  return new CliError("usage", message, { remedy });
}

/** @throws CliError when nothing was said where `expected` was. */
export function assertSaid(text: string, what: string, { expected, remedy }: { readonly expected: string; readonly remedy: string }): void {
  if (text.trim() === "") throw usageError(`The ${what} is empty; expected ${expected}.`, remedy);
}

export interface Failure {
  readonly exit: Exit;
  readonly code: string;
  readonly message: string;
  /** The next step; there always is one. */
  readonly remedy: string;
}

/** What happened, for a person and for a program. Pure. */
export function toFailure(error: unknown): Failure {
  if (error instanceof CliError) {
    return { exit: error.exit, code: error.code, message: error.message, remedy: error.remedy ?? stepsAfter[error.exit] };
  }
  if (error instanceof RemoteError) {
    const { code, message } = error;
    return { exit: isAuthorisation(error) ? "unauthorised" : "failed", code, message, remedy: toNextStep(code, remedyOf(error)) };
  }
  if (error instanceof ConnectionError) {
    const { remedy, ...failure } = connectionFailures[error.kind];
    return { ...failure, message: error.message, remedy: remedy.replace("URL", () => addressOf(error.url)) };
  }
  if (error instanceof DamagedFileError) return { exit: "failed", code: "FILE_DAMAGED", message: error.message, remedy: error.remedy };
  if (error instanceof CommanderError) {
    return { exit: "usage", code: "USAGE", message: error.message.replace(/^error: /, ""), remedy: stepsAfter.usage };
  }
  return { exit: "failed", code: "FAILED", message: error instanceof Error ? error.message : String(error), remedy: stepsAfter.failed };
}

/** Says it on standard error: one line a fact, or one JSON object. Answers the exit code. */
export function reportFailure(io: Io, failure: Failure, asJson: boolean): number {
  const { exit, code, message, remedy } = failure;
  if (asJson) io.err(`${toJsonText({ error: { code, message, remedy } })}\n`);
  else io.err(`portreeve: ${plain(message)}\n${plain(remedy)}\n`);
  return exitCodes[exit].code;
}

/** For failures that say no step of their own. */
const stepsAfter: Readonly<Record<Exclude<Exit, "ok">, string>> = {
  failed: "See whether the gateway works: ./portreeve health. Its log says more.",
  usage: "See `./portreeve --help`.",
  unreachable: "See whether the gateway still runs: ./portreeve health",
  unauthorised: "See which gateway answers there, and who is paired: ./portreeve devices --url URL --token SECRET",
  timeout: "See what it is doing: ./portreeve status",
};

const connectionFailures: Readonly<Record<ConnectionErrorKind, Pick<Failure, "exit" | "code" | "remedy">>> = {
  unreachable: {
    exit: "unreachable",
    code: "UNREACHABLE",
    remedy: "Start one with `./portreeve gateway run` (or `npm start`).",
  },
  untrusted: {
    exit: "unauthorised",
    code: "CERTIFICATE_UNTRUSTED",
    remedy:
      "The gateway prints its certificate's SHA-256 when it starts. Name it once, as it stands there, beside the same command: --tls-fingerprint SHA256, such as ./portreeve status --url URL --tls-fingerprint SHA256",
  },
  closed: { exit: "unreachable", code: "CONNECTION_CLOSED", remedy: "See whether the gateway still runs: `./portreeve health`." },
  timeout: { exit: "timeout", code: "TIMEOUT", remedy: "See whether the address is a gateway's, and the gateway's log." },
  unproved: { exit: "unauthorised", code: "GATEWAY_UNPROVED", remedy: stepsAfter.unauthorised },
  "key-changed": {
    exit: "unauthorised",
    code: "GATEWAY_KEY_CHANGED",
    remedy:
      "Compare with the new key's fingerprint on the gateway's machine. Only when you know why it changed: ./portreeve gateways forget URL",
  },
};

/** Whoever approves a request compares the words first. */
function remedyOf({ code, remedy, words }: RemoteError): string | undefined {
  if (code !== "PAIRING_REQUIRED" || words === undefined) return remedy;
  const compare = `Words: ${words}. The gateway shows the same ones for this request (./portreeve devices list), or somebody stands between.`;
  return remedy === undefined ? compare : `${compare}\n${remedy}`;
}

function isAuthorisation(error: RemoteError): boolean {
  return /^(PAIRING_REQUIRED|MISSING_SCOPE|AUTH_|DEVICE_|CONTROL_UI_)/.test(error.code);
}
