/** What to do about a refusal: the step that the command line knows, for each code a gateway may answer with. */
import type { ErrorCode } from "@portreeve/protocol/wire";

const seeDevices = "See what each device may do: ./portreeve devices";
const seeMethods = "See the methods and their parameters in docs/reference/methods.md.";
const giveSecret =
  "Give the command that gateway's secret: --token SECRET, or PORTREEVE_URL and PORTREEVE_TOKEN. On its own machine, with its own home: ./portreeve status";
const proxySettings =
  "Compare gateway.auth.trustedProxy and gateway.trustedProxies in config.json5 with what the proxy sends: ./portreeve status";
const ownClient = "This client and the gateway do not fit together: update both (`./portreeve --version`, `./portreeve status`).";
const seeRuns = "See the runs there are: ./portreeve runs";
const seeNodes = "See the nodes and what of them is approved: ./portreeve nodes";
const seeApprovals = "See what waits: ./portreeve approvals";
const again = "Run the command again; if it stays so: ./portreeve status";

/** Said after the gateway's own words, unless those name a command already. */
export const nextSteps: Readonly<Record<ErrorCode, string>> = {
  INVALID_FRAME: ownClient,
  UNKNOWN_METHOD: seeMethods,
  INVALID_PARAMS: seeMethods,
  NOT_ALLOWED: `Leave that parameter out. ${seeMethods}`,
  NOT_SUPPORTED: `Leave that out. ${seeMethods}`,
  CONNECT_ONLY_FIRST: "Every command connects by itself; to see that it does: ./portreeve health",
  MISSING_SCOPE: `Leave --scopes out, or name what is missing. ${seeDevices}`,
  RATE_LIMITED: "Wait as long as it says, then run the command again.",
  WRONG_CALLER: "Only a run or a node may call this; to start a run: ./portreeve agent MESSAGE",
  IDEMPOTENCY_MISMATCH: "Use another idempotencyKey for another request.",

  UNKNOWN_REQUEST: "See who waits: ./portreeve devices",
  UNKNOWN_ID: "See what the audit holds: ./portreeve audit list",
  AMBIGUOUS_ID: "Give more of the id: ./portreeve audit list --json has them whole",
  UNKNOWN_DEVICE: "See who is paired: ./portreeve devices",
  DEVICE_ACTION_DENIED: seeDevices,
  UNKNOWN_SESSION: "See the sessions there are: ./portreeve sessions",
  UNKNOWN_RUN: "See the runs there are: ./portreeve runs",
  UNKNOWN_AGENT_ID: "See the agents there are: ./portreeve agents",
  MAIN_SESSION: "Begin it anew instead: ./portreeve agent /new",
  SESSION_BUSY: "Wait for its run to end, then run the command again: ./portreeve sessions",
  SESSION_CHANGED: "List sessions and take the id that stands there: ./portreeve sessions",
  AMBIGUOUS_SESSION: "Name the session by its key: ./portreeve sessions",
  TOO_MANY_SUBSCRIPTIONS: "Listen to fewer sessions on one connection, or to all of them with sessions.subscribe",
  LINEAGE_FIXED: "See whose child a session is: ./portreeve sessions",

  CRON_JOB_NOT_FOUND: "See the jobs there are: ./portreeve cron list --all",
  CRON_SCHEDULE_INVALID: "See how times are written: ./portreeve cron add --help",
  CRON_NEVER_FIRES: "Name a time that is to come: ./portreeve cron add --help",
  CRON_JOB_CHANGED: "Look at it again: ./portreeve cron list --all",
  CRON_TOO_MANY_JOBS: "Remove those that are not needed: ./portreeve cron remove ID",
  UNKNOWN_CONFIG_KEY: "See every setting: docs/reference/config.md, or ./portreeve call config.schema",
  CONFIG_HASH_REQUIRED: "See the configuration and its hash: ./portreeve call config.get",
  CONFIG_CHANGED: "See the configuration and its hash: ./portreeve call config.get",
  CONFIG_INVALID: "See every setting: docs/reference/config.md",
  CONFIG_UNWRITABLE: "Make config.json5 and its folder writable for the gateway's user: ./portreeve doctor",

  SPAWN_DEPTH: "Raise agents.defaults.subagents.maxSpawnDepth in config.json5, or delegate less deeply.",
  SPAWN_CHILDREN: "Wait for a child to end, or raise agents.defaults.subagents.maxChildrenPerAgent in config.json5.",
  SPAWN_TIMEOUT: "Name a deadline within agents.defaults.subagents.runTimeoutMinSeconds and runTimeoutMaxSeconds of config.json5.",
  BUDGET_SPENT: "Start it from a run that has something left, or without a budget above it: ./portreeve sessions",
  BUDGET_UNPRICED: "Say what the model costs in models.prices of config.json5, or limit tokens or turns instead.",
  ATTACHMENTS_OFF: "Put what the sub-agent needs into the task, or set agents.defaults.subagents.attachments.enabled.",
  ATTACHMENT_LIMIT: "Hand over less, or raise the setting that the message names.",
  ATTACHMENT_UNUSABLE: "Give each file one plain name, and its whole content as text or canonical base64.",
  FORK_OTHER_AGENT: "Leave agentId out, or put what the other agent needs into the task (context isolated).",
  SCHEMA_UNUSABLE: "Use type, properties, required, additionalProperties, items, enum and bounds; nothing else is checked.",
  TASK_NAME_TAKEN: "Give the sub-agent another taskName, or wait until the one that has it is done: ./portreeve sessions",
  MODE_UNAVAILABLE: "Leave `mode` and `thread` out: a sub-agent then runs once and answers.",
  SANDBOX_UNAVAILABLE: "Leave `sandbox` out, or narrow the sub-agent with `tools`.",
  THINKING_UNUSABLE: "Leave `thinking` out, or name a level the model has; for openai-compatible: models.providers.<name>.thinking.",
  UNKNOWN_TOOL: "See which tools there are: ./portreeve call tools.catalog",
  TOOL_UNUSABLE: "Name tools that the agent has; policies are under agents.entries.<id>.tools in config.json5.",
  MODEL_UNUSABLE: "See which model each agent would use: ./portreeve agents. Models are set in config.json5 (docs/reference/config.md).",
  DELIVERY_SETTLED: "See how the run and its result stand: ./portreeve runs",
  UNKNOWN_SUBAGENT: seeRuns,
  AMBIGUOUS_SUBAGENT: `Give the whole id. ${seeRuns}`,
  NOT_DESCENDANT: "To stop any run: ./portreeve runs cancel RUN",
  MESSAGE_HOPS:
    "Raise agents.defaults.sessions.maxHops in config.json5, or speak to the session yourself: ./portreeve agent --session KEY MESSAGE",
  NO_OPEN_CHILDREN: seeRuns,

  NOT_CONNECTED: seeNodes,
  PAIRING_CHANGED: seeNodes,
  COMMAND_NOT_ALLOWED: seeNodes,
  NODE_BUSY: "Wait for what is in work on the node, then run the command again.",
  NODE_ERROR: "These are the node's own words; what it runs is in its own log.",
  PAYLOAD_TOO_LARGE: "Send less, or ask the node for less, at once.",
  APPROVAL_NOT_FOUND: seeApprovals,
  APPROVAL_ALREADY_RESOLVED: seeApprovals,
  AMBIGUOUS_APPROVAL: seeApprovals,
  APPROVAL_OWN_REQUEST: "Decide it with another paired device; see who is paired: ./portreeve devices",
  APPROVAL_ID_TAKEN: "Use another id, or none.",
  APPROVAL_UNUSABLE: `Ask anew for exactly what is to run, and have it approved. ${seeApprovals}`,
  TOO_MANY_APPROVALS: seeApprovals,
  ANSWER_NOT_KEPT: "To run the command again use another idempotencyKey.",

  RUN_FAILED: "See which model was used: ./portreeve agents. When its provider failed, the gateway's log has the answer: ./portreeve logs",
  STOP_INCOMPLETE: "Look at what goes on with ps, and end it; the gateway log names it.",
  STORE_UNAVAILABLE: "See how it stands with the disk of the state folder, on the gateway's machine: ./portreeve doctor",
  SHUTTING_DOWN: "Start it again: ./portreeve gateway run",
  INTERNAL: "Look for the error id in the gateway's log; to see whether it still works: ./portreeve health",

  PROTOCOL_MISMATCH: ownClient,
  PAIRING_REQUIRED: "On the gateway's machine, see who waits and decide: ./portreeve devices",
  DEVICE_IDENTITY_REQUIRED: giveSecret,
  CONTROL_UI_DEVICE_IDENTITY_REQUIRED: giveSecret,
  CONTROL_UI_ORIGIN_NOT_ALLOWED: "Add the origin to gateway.allowedOrigins in config.json5, then: ./portreeve gateway run",
  TOO_MANY_WAITS: "Wait until some of what is waited for has come, then run it again.",
  TOO_MANY_SOCKETS: "Wait until some of the commands that run now are done, then run it again.",
  INVALID_HANDSHAKE: ownClient,
  AUTH_TOKEN_MISSING: giveSecret,
  AUTH_TOKEN_MISMATCH: giveSecret,
  AUTH_PASSWORD_MISSING: giveSecret,
  AUTH_PASSWORD_MISMATCH: giveSecret,
  AUTH_IDENTITY_HEADER_REQUIRED: proxySettings,
  AUTH_UNAUTHORIZED: proxySettings,
  AUTH_RATE_LIMITED: "Wait as long as it says, then: ./portreeve status",
  AUTH_DEVICE_TOKEN_MISMATCH: giveSecret,
  AUTH_BOOTSTRAP_TOKEN_INVALID: "Ask for a fresh code: ./portreeve devices invite",
  AUTH_SCOPE_MISMATCH: "Ask for less; what this device may do, on the gateway's machine: ./portreeve devices",
  DEVICE_AUTH_DEVICE_ID_MISMATCH: ownClient,
  DEVICE_AUTH_SIGNATURE_EXPIRED: again,
  DEVICE_AUTH_NONCE_REQUIRED: ownClient,
  DEVICE_AUTH_NONCE_MISMATCH: again,
  DEVICE_AUTH_SIGNATURE_INVALID: ownClient,
  DEVICE_AUTH_PUBLIC_KEY_INVALID: ownClient,
  DEVICE_RECORD_CORRUPT: "To begin with a new key: move the folder `cli` in the home away, then: ./portreeve devices",
};

/** The gateway's words and ours: never none. Pure. */
export function toNextStep(code: ErrorCode, remedy: string | undefined): string {
  const own = nextSteps[code];
  if (remedy === undefined || remedy === "") return own;
  return remedy.includes("./portreeve ") ? remedy : `${remedy}\n${own}`;
}
