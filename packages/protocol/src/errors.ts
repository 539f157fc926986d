/** Our stable error codes (`details.code`) and what each becomes on the wire of either version. */

export type ProtocolVersion = 3 | 4;

/** The closed set of top-level codes that clients of both versions know. */
export type WireCode = "INVALID_REQUEST" | "NOT_PAIRED" | "UNAVAILABLE" | "FORBIDDEN";

interface ErrorRule {
  readonly wire: WireCode;
  /** The v3 code where it differs: version 3 has no FORBIDDEN. */
  readonly wireV3?: WireCode;
  /** Whether the same call may succeed later without anything being changed. */
  readonly retryable: boolean;
  readonly meaning: string;
}

const invalid = (meaning: string): ErrorRule => ({ wire: "INVALID_REQUEST", retryable: false, meaning });
const notPaired = (meaning: string): ErrorRule => ({ wire: "NOT_PAIRED", retryable: false, meaning });
const forbidden = (meaning: string): ErrorRule => ({ wire: "FORBIDDEN", wireV3: "INVALID_REQUEST", retryable: false, meaning });
const unavailable = (meaning: string, retryable = true): ErrorRule => ({ wire: "UNAVAILABLE", retryable, meaning });

export const errorRules = {
  INVALID_FRAME: invalid("The frame is not a request of this protocol."),
  UNKNOWN_METHOD: invalid("There is no such method."),
  INVALID_PARAMS: invalid("The parameters do not have the method's shape."),
  NOT_ALLOWED: invalid("A parameter that no outside caller may set."),
  NOT_SUPPORTED: invalid("A known parameter or value that this gateway does not act on."),
  CONNECT_ONLY_FIRST: invalid("`connect` is only valid as the first request."),
  MISSING_SCOPE: forbidden("The caller lacks the scope that the method needs."),
  RATE_LIMITED: unavailable("The caller made as many calls of this method as it may in a minute."),
  WRONG_CALLER: invalid("The method is not for this role or kind of caller."),
  IDEMPOTENCY_MISMATCH: invalid("The idempotency key was used before with other parameters."),

  UNKNOWN_REQUEST: invalid("No pending pairing request has this id."),
  UNKNOWN_ID: invalid("Nothing that is stored has this id."),
  AMBIGUOUS_ID: invalid("Several things that are stored have an id that begins, or ends, so."),
  UNKNOWN_DEVICE: invalid("No paired device that the caller may manage has this id."),
  DEVICE_ACTION_DENIED: invalid("The caller may not do this to the device or its token."),
  UNKNOWN_SESSION: invalid("No such session, or none that the caller may see."),
  UNKNOWN_RUN: invalid("No such run, or none that the caller may see."),
  UNKNOWN_AGENT_ID: invalid("The agent id is not configured."),
  MAIN_SESSION: invalid("An agent's main session cannot be deleted."),
  SESSION_BUSY: unavailable("The session has a run that has not ended."),
  SESSION_CHANGED: invalid("The session is not as the caller expects it."),
  AMBIGUOUS_SESSION: invalid("Several sessions have this label."),
  TOO_MANY_SUBSCRIPTIONS: invalid("The connection listens to as many sessions as it may."),
  LINEAGE_FIXED: invalid("The session's lineage is set and cannot be changed."),

  SPAWN_DEPTH: forbidden("The session is at the deepest level that may have children."),
  SPAWN_CHILDREN: forbidden("The session has as many running children as it may have."),
  SPAWN_TIMEOUT: invalid("The deadline is outside what the operator allows sub-agents."),
  BUDGET_SPENT: forbidden("The budget above the sub-agent leaves it nothing."),
  BUDGET_UNPRICED: invalid("A budget in money needs a model with a known price."),
  ATTACHMENTS_OFF: forbidden("The operator does not permit attachments."),
  ATTACHMENT_LIMIT: forbidden("There are more attachments, or larger ones, than the operator permits."),
  ATTACHMENT_UNUSABLE: invalid("The name of an attachment is not a plain one, or its content cannot be read."),
  FORK_OTHER_AGENT: invalid("Only a sub-agent of the same agent can begin with its conversation."),
  SCHEMA_UNUSABLE: invalid("The schema for the result is not in the subset of JSON Schema that is checked."),
  TASK_NAME_TAKEN: invalid("A running sub-agent of the session has this task name."),
  MODE_UNAVAILABLE: invalid("A sub-agent cannot be started in this mode here."),
  SANDBOX_UNAVAILABLE: forbidden("The gateway has no sandbox to run the sub-agent in."),
  THINKING_UNUSABLE: invalid("The model does not think at this level."),
  UNKNOWN_TOOL: invalid("The agent has no such tool, or none that is called without a run."),
  TOOL_UNUSABLE: invalid("There is no such tool, or none that the sub-agent could have."),
  MODEL_UNUSABLE: invalid("The model is not configured or cannot be used."),
  DELIVERY_SETTLED: invalid("The run's result is not one that can be delivered again or dismissed."),
  UNKNOWN_SUBAGENT: invalid("No sub-agent below the session is called that."),
  AMBIGUOUS_SUBAGENT: invalid("Several sub-agents below the session are called that."),
  NOT_DESCENDANT: forbidden("The run is not below the session: only what it delegated is its to stop, to wait for or to steer."),
  MESSAGE_HOPS: forbidden("The message answers messages between sessions that already go back and forth as often as they may."),
  NO_OPEN_CHILDREN: invalid("There is no child to wait for."),

  NOT_CONNECTED: unavailable("The node has no open connection, or lost it before it answered."),
  PAIRING_CHANGED: unavailable("Nothing is approved for the node, or the command stopped being so before the node answered."),
  COMMAND_NOT_ALLOWED: invalid("The node does not declare the command, or it is not approved for it."),
  NODE_BUSY: unavailable("The node has as many commands in work as it may."),
  NODE_ERROR: unavailable("The node answered with an error, or not in time; `details.nodeError` has its words.", false),
  PAYLOAD_TOO_LARGE: invalid("What was sent, or what a node answered, is larger than it may be."),
  APPROVAL_NOT_FOUND: invalid("No approval that waits and that the caller may see has this id."),
  APPROVAL_ALREADY_RESOLVED: invalid("The approval was decided otherwise before."),
  AMBIGUOUS_APPROVAL: invalid("Several approvals have an id that begins so."),
  APPROVAL_OWN_REQUEST: forbidden("Whoever asks for an approval does not decide it."),
  APPROVAL_ID_TAKEN: invalid("An approval has this id already."),
  APPROVAL_UNUSABLE: forbidden("No approval of exactly this effect, for this caller, is allowed and unused."),
  TOO_MANY_APPROVALS: unavailable("So many approvals wait that no other one may."),
  ANSWER_NOT_KEPT: invalid("The command was sent with this idempotency key before, and its answer is kept no longer."),
  CRON_JOB_NOT_FOUND: invalid("No job has this id."),
  CRON_SCHEDULE_INVALID: invalid("The schedule cannot be read."),
  CRON_NEVER_FIRES: invalid("The schedule has no time to come."),
  CRON_JOB_CHANGED: invalid("The job was changed since it was read."),
  CRON_TOO_MANY_JOBS: invalid("There are as many jobs as there may be."),
  UNKNOWN_CONFIG_KEY: invalid("The configuration has no such key."),
  CONFIG_HASH_REQUIRED: invalid("A configuration that exists is changed only by who says which one they saw."),
  CONFIG_CHANGED: invalid("The configuration is not the one the caller saw."),
  CONFIG_INVALID: invalid("The configuration would not be valid; `details.issues` says where."),
  CONFIG_UNWRITABLE: unavailable("The configuration file could not be read or written; nothing was changed."),

  RUN_FAILED: unavailable("The run ended without success.", false),
  STOP_INCOMPLETE: unavailable("Runs were ended, but something of theirs goes on; `details.failed` says what.", false),
  STORE_UNAVAILABLE: unavailable("The gateway could not read or write its state; nothing was changed."),
  SHUTTING_DOWN: unavailable("The gateway is stopping."),
  INTERNAL: unavailable("An unexpected failure; the log has it under the error id.", false),

  PROTOCOL_MISMATCH: invalid("No protocol version in the client's range is spoken here."),
  PAIRING_REQUIRED: notPaired("The device, or what it asks for, waits for an approval."),
  DEVICE_IDENTITY_REQUIRED: notPaired("The connection needs a device key."),
  CONTROL_UI_DEVICE_IDENTITY_REQUIRED: notPaired("The control UI needs a device key."),
  CONTROL_UI_ORIGIN_NOT_ALLOWED: invalid("The page's origin is not allowed."),
  TOO_MANY_SOCKETS: unavailable("The device has as many open connections as it may."),
  TOO_MANY_WAITS: unavailable("The connection waits for as many things as it may."),
  INVALID_HANDSHAKE: invalid("The first request was not a valid `connect`."),
  AUTH_TOKEN_MISSING: invalid("No credential was offered."),
  AUTH_TOKEN_MISMATCH: invalid("The shared secret is wrong."),
  AUTH_PASSWORD_MISSING: invalid("No password was offered."),
  AUTH_PASSWORD_MISMATCH: invalid("The password is wrong."),
  AUTH_IDENTITY_HEADER_REQUIRED: invalid("The proxy did not send a header that names the user."),
  AUTH_UNAUTHORIZED: invalid("The connection does not come from a user the trusted proxy vouches for."),
  AUTH_RATE_LIMITED: { wire: "INVALID_REQUEST", retryable: true, meaning: "Too many failed attempts; the peer is locked out for a while." },
  AUTH_DEVICE_TOKEN_MISMATCH: invalid("The device token is wrong, rotated or revoked."),
  AUTH_BOOTSTRAP_TOKEN_INVALID: invalid(
    "The setup code is unknown, used, expired, bound to another key, or asked for more than it grants.",
  ),
  AUTH_SCOPE_MISMATCH: invalid("The device token does not cover the requested scopes."),
  DEVICE_AUTH_DEVICE_ID_MISMATCH: invalid("The device id is not the hash of its key."),
  DEVICE_AUTH_SIGNATURE_EXPIRED: invalid("The signature's time is too far from the gateway's clock."),
  DEVICE_AUTH_NONCE_REQUIRED: invalid("The device proof has no nonce."),
  DEVICE_AUTH_NONCE_MISMATCH: invalid("The nonce is not the one of this connection."),
  DEVICE_AUTH_SIGNATURE_INVALID: invalid("The signature does not fit the key and the request."),
  DEVICE_AUTH_PUBLIC_KEY_INVALID: invalid("The public key cannot be read."),
  DEVICE_RECORD_CORRUPT: unavailable("The stored record of the device cannot be read.", false),
} as const satisfies Record<string, ErrorRule>;

export type ErrorCode = keyof typeof errorRules;

/** The top-level wire code of `code` for a client that speaks `version`. */
export function toWireCode(code: ErrorCode, version: ProtocolVersion): WireCode {
  const rule: ErrorRule = errorRules[code];
  return version === 3 ? (rule.wireV3 ?? rule.wire) : rule.wire;
}

export interface ProtocolErrorOptions {
  /** Facts for programs; goes to the wire beside `code`. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The exact next step for a person; the wire's `details.remediationHint`. */
  readonly remedy?: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A failure the caller may know about. Everything else that is thrown becomes INTERNAL with an error id. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly remedy: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ProtocolErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
    this.remedy = options.remedy;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The `error` of a response frame. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details?: unknown;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
}

/** `error` as it goes to a client of `version`. */
export function toErrorBody(error: ProtocolError, version: ProtocolVersion): ErrorBody {
  const rule: ErrorRule = errorRules[error.code];
  const body: ErrorBody = {
    code: toWireCode(error.code, version),
    message: error.message,
    ...(rule.retryable ? { retryable: true } : {}),
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  };
  // Version 3 clients read a missing scope from the message alone; the reference sends them no details.
  if (version === 3 && error.code === "MISSING_SCOPE") return body;
  return {
    ...body,
    details: { code: error.code, ...error.details, ...(error.remedy === undefined ? {} : { remediationHint: error.remedy }) },
  };
}
