/** A language model, at the level of one streamed call. The loop around it (tools, retries, waiting) is ours. */
import type { ContentBlock, ThinkingLevel, Usage } from "@portreeve/protocol";

export interface ModelMessage {
  readonly role: "user" | "assistant" | "toolResult";
  readonly content: readonly ContentBlock[];
}

export interface ToolSpec {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface ModelRequest {
  readonly system: string;
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ToolSpec[];
  /** How hard it thinks; left out, as the model does by itself. A model that cannot must fail as `unusable`, not do otherwise. */
  readonly thinking?: ThinkingLevel;
  /** The longest reply; left out, the model's own bound. */
  readonly maxOutputTokens?: number;
  readonly signal: AbortSignal;
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** Parsed JSON, or the raw text when the model did not write JSON: the tool's schema then refuses it. */
  readonly arguments: unknown;
}

export type ModelEvent =
  | { readonly type: "text"; readonly delta: string }
  | { readonly type: "tool-call"; readonly call: ToolCall }
  /** A part of something that comes later or is not shown: thought, the arguments of a call. */
  | { readonly type: "progress" }
  /** Always the last event of a stream that ended well. */
  | { readonly type: "finish"; readonly reason: "stop" | "tool-calls" | "length" | "content-filter"; readonly usage: Usage };

export interface Model {
  /** As the provider names it. */
  readonly name: string;
  /** The provider's key in the configuration, or `scripted`. */
  readonly provider: string;
  /** Why it cannot think at `level`, or undefined. Asks nothing of the network. */
  problemWithThinking(level: ThinkingLevel): Promise<string | undefined>;
  /**
   * One call. Ends with `finish`, or throws a ModelError: also when the stream is cut, ends without a finish reason, or
   * `signal` aborts (kind `aborted`). Never retries by itself. The caller must consume or return the iterator.
   */
  stream(request: ModelRequest): AsyncIterable<ModelEvent>;
}

/** `provider/name` to a model. */
export interface Models {
  /** The model an agent without one gets. */
  readonly defaultId: string;
  /** @throws ModelError of kind `unusable` when the id names no configured provider or the provider lacks its key. */
  get(id: string): Promise<Model>;
  /** Why `id` cannot be used, or undefined: the check `get` makes, without loading the provider. */
  problemWith(id: string): string | undefined;
  /** Why the model `id` cannot think at `level`, or undefined. Loads the provider; asks nothing of the network. */
  problemWithThinking(id: string, level: ThinkingLevel): Promise<string | undefined>;
}

export type ModelErrorKind =
  | "unusable"
  | "auth"
  | "rate_limit"
  | "overloaded"
  | "network"
  | "incomplete"
  | "context_length"
  | "refused"
  | "aborted"
  | "unknown";

/** Kinds that are about the one request. Nothing is known of an `unknown` one, and so nothing of the model. */
const ofRequest: Readonly<Record<ModelErrorKind, boolean>> = {
  unusable: false,
  auth: false,
  rate_limit: false,
  overloaded: false,
  network: false,
  incomplete: false,
  context_length: true,
  refused: true,
  aborted: true,
  unknown: true,
};

/** Why a call failed, in terms the retry policy decides by. The message never holds a secret. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly kind: ModelErrorKind;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly httpStatus: number | undefined;
  /** It says nothing of the model or its provider: another request may do as well as ever. */
  readonly isOfRequest: boolean;
  /** What the failed call used, when the provider said it. */
  readonly usage: Usage | undefined;
  /** The provider's own words as far as they were kept, without its key: for the log. */
  readonly answer: string | undefined;

  constructor(
    kind: ModelErrorKind,
    message: string,
    options: {
      retryable?: boolean;
      retryAfterMs?: number | undefined;
      httpStatus?: number | undefined;
      isOfRequest?: boolean;
      usage?: Usage;
      answer?: string | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.httpStatus = options.httpStatus;
    this.isOfRequest = options.isOfRequest ?? ofRequest[kind];
    this.usage = options.usage;
    this.answer = options.answer;
  }
}
