/** The tables, as Kysely sees them. Portable subset: text ids, integer milliseconds, JSON as text, booleans as 0 and 1. */
import type { RunStatus } from "@portreeve/protocol";
import type { QueueMode } from "../store.ts";
import type { ApprovalRow, InvocationRow, NodeRequestRow, NodeRow, NodeWorkRow } from "./node-schema.ts";

export interface DeviceRow {
  device_id: string;
  public_key: string;
  display_name: string | null;
  platform: string | null;
  device_family: string | null;
  client_id: string;
  client_mode: string;
  remote_ip: string | null;
  approved_via: string;
  created_at_ms: number;
  approved_at_ms: number;
  last_seen_at_ms: number | null;
  operator_label: string | null;
}

export interface GrantRow {
  device_id: string;
  role: string;
  scopes: string;
  generation: number;
  created_at_ms: number;
  rotated_at_ms: number | null;
  revoked_at_ms: number | null;
  /** Null: all of `scopes`. */
  token_scopes: string | null;
  elevated_scopes: string | null;
  elevated_until_ms: number | null;
  elevated_seen_ms: number | null;
}

/** The last generation of grants that are gone: a device that is paired again must not revive an old token. */
export interface PastGenerationRow {
  device_id: string;
  role: string;
  generation: number;
}

export interface PairingRequestRow {
  request_id: string;
  device_id: string;
  public_key: string;
  display_name: string | null;
  platform: string | null;
  device_family: string | null;
  client_id: string;
  client_mode: string;
  remote_ip: string | null;
  role: string;
  roles: string;
  scopes: string;
  reason: string;
  is_repair: number;
  state: "pending" | "approved" | "rejected" | "superseded";
  created_at_ms: number;
  expires_at_ms: number;
  words: string | null;
}

export interface SetupCodeRow {
  setup_id: string;
  /** Hex SHA-256 of the code's token: a stolen database holds none. */
  token_hash: string;
  role: string;
  scopes: string;
  access: string;
  issued_by: string;
  created_at_ms: number;
  expires_at_ms: number;
  /** The first key that presented it. */
  bound_key: string | null;
  used_at_ms: number | null;
  device_id: string | null;
  device_name: string | null;
  /** When the device was heard on the connection that it was paired by; null: perhaps never. */
  heard_at_ms: number | null;
}

/** Keys that an operator refused: never paired silently again. */
export interface RefusedKeyRow {
  public_key: string;
  refused_at_ms: number;
}

/** `failed_at_ms`: the newest failures as a JSON array of times. */
export interface FailedAttemptRow {
  kind: "shared-secret" | "device-token" | "setup-code";
  peer: string;
  failed_at_ms: string;
  locked_at_ms: number | null;
  touched_at_ms: number;
}

export interface CounterRow {
  name: string;
  value: number;
}

export interface AuditTableRow {
  seq: number;
  at_ms: number;
  kind: string;
  actor: string;
  subject: string;
  facts: string;
  prev_hash: string;
  hash: string;
}

export interface RefusalRow {
  minute_ms: number;
  principal: string;
  method: string;
  rule: string;
  count: number;
}

export interface SessionTableRow {
  session_key: string;
  session_id: string;
  agent_id: string;
  label: string | null;
  model: string | null;
  created_at_ms: number;
  updated_at_ms: number;
  archived_at_ms: number | null;
  created_by: string;
  root_key: string;
  parent_key: string | null;
  depth: number;
  role: "main" | "orchestrator" | "leaf";
  cleanup: "keep" | "delete";
  /** What every run in it stays limited to, as JSON (terms.ts); null: nothing. */
  terms: string | null;
}

export interface MessageRow {
  message_id: string;
  session_key: string;
  seq: number;
  body: string;
}

/** `through_seq`: the last message that the summary stands for; `pinned_seq`: one of them that is read as it is. */
export interface CompactionRow {
  session_key: string;
  through_seq: number;
  pinned_seq: number | null;
  summary: string;
  run_id: string | null;
  at_ms: number;
}

export interface RunTableRow {
  run_id: string;
  wire_id: string;
  idempotency_key: string;
  /** The session in which the key was used: the run's own, or the parent's for a child. */
  asked_in: string;
  params_hash: string;
  session_key: string;
  session_id: string;
  root_session_key: string;
  agent_id: string;
  trigger: "message" | "spawn" | "announce" | "cron";
  input: string;
  label: string | null;
  model: string;
  scopes: string;
  owner: number;
  depth: number;
  started_by: string;
  parent_run_id: string | null;
  parent_session_key: string | null;
  status: RunStatus;
  lease_owner: string | null;
  lease_until_ms: number | null;
  epoch: number;
  timeout_ms: number | null;
  deadline_at_ms: number | null;
  created_at_ms: number;
  started_at_ms: number | null;
  ended_at_ms: number | null;
  ending: string | null;
  usage_input: number;
  usage_output: number;
  usage_cache_read: number;
  usage_cache_write: number;
  /** Of the calls whose price is known. */
  cost_micro_usd: number;
  unpriced_calls: number;
  /** 0: its result is delivered to nobody. */
  expects_completion: number;
  /** What it was started with, as JSON (terms.ts); null: nothing special. */
  terms: string | null;
  queue_mode: QueueMode;
  /** The run that took this one's message into its own turn. */
  absorbed_by: string | null;
  /** Workers in a row that died with this run before they wrote anything. */
  takeovers: number;
}

/** A message that no turn has read. */
export interface NoteRow {
  run_id: string;
  session_key: string;
}

/** `slot_ms`: the quarter of an hour in which the calls ended. Costs are millionths of a dollar. */
export interface UsageRow {
  slot_ms: number;
  session_id: string;
  session_key: string;
  agent_id: string;
  model: string;
  calls: number;
  unpriced_calls: number;
  input: number;
  output: number;
  cache_read: number;
  cache_write: number;
  input_cost: number;
  output_cost: number;
  cache_read_cost: number;
  cache_write_cost: number;
}

/** Null: not limited. `held`: reserved by calls under way. */
export interface BudgetRow {
  budget_id: string;
  parent_id: string | null;
  max_tokens: number | null;
  max_micro_usd: number | null;
  max_turns: number | null;
  spent_tokens: number;
  spent_micro_usd: number;
  spent_turns: number;
  held_tokens: number;
  held_micro_usd: number;
  held_turns: number;
}

/** At most one a run: the call it is making. */
export interface ReservationRow {
  /** Or the id of a call of no run. */
  run_id: string;
  /** The nearest budget; those above it hold the same. */
  budget_id: string;
  tokens: number;
  micro_usd: number;
  turns: number;
  /** What its agent may use that day, where a run's own budget is the nearest. */
  day_id: string | null;
}

export interface JournalRow {
  run_id: string;
  seq: number;
  epoch: number;
  at_ms: number;
  entry: string;
}

export interface InboxRow {
  inbox_id: string;
  session_key: string;
  parent_run_id: string | null;
  child_run_id: string;
  generation: number;
  completion: string;
  created_at_ms: number;
  consumed_by: string | null;
  /** When the row was taken from the unread: read, superseded or dismissed. */
  consumed_at_ms: number | null;
  /** Null: open, or read by `consumed_by`. */
  closed_as: "superseded" | "dismissed" | null;
  /** The principal that closed it. */
  closed_by: string | null;
}

export interface ProcessRow {
  pid: number;
  started_at: string | null;
  run_id: string;
}

/** A job. `spec`: a CronJobSpec as JSON; `authority`: a RunAuthority as JSON. */
export interface CronJobRow {
  job_id: string;
  spec: string;
  name: string;
  agent_id: string;
  /** As the spec names it. */
  session_key: string | null;
  /** The session it speaks in; null: one of its own each time. */
  target_key: string | null;
  schedule_kind: string;
  enabled: number;
  acts_for: string;
  authority: string;
  created_at_ms: number;
  updated_at_ms: number;
  next_run_at_ms: number | null;
  /** How many runs it has started: also the number in their wire ids. */
  fired: number;
  last_seq: number | null;
  disabled_reason: string | null;
  /** Of `at`: the run that its time has started; null once it has another time. */
  own_run_id: string | null;
  /** Of the newest that started a run, as `last_seq` is of the newest of any kind. */
  last_run_seq: number | null;
}

/** What came of one time at which a job was due or was run by hand. */
export interface CronFireRow {
  seq: number;
  job_id: string;
  job_name: string;
  agent_id: string;
  due_at_ms: number;
  at_ms: number;
  /** `skipped`: the run of the time before had not ended. */
  kind: "run" | "skipped" | "error";
  /** Of `skipped`: the run that went on. */
  run_id: string | null;
  error: string | null;
  /** How many times in a row were skipped for that run. */
  times: number;
  wants_delivery: number;
}

export interface Database {
  devices: DeviceRow;
  device_grants: GrantRow;
  past_generations: PastGenerationRow;
  nodes: NodeRow;
  node_requests: NodeRequestRow;
  node_invocations: InvocationRow;
  node_work: NodeWorkRow;
  exec_approvals: ApprovalRow;
  pairing_requests: PairingRequestRow;
  setup_codes: SetupCodeRow;
  refused_keys: RefusedKeyRow;
  counters: CounterRow;
  failed_attempts: FailedAttemptRow;
  audit: AuditTableRow;
  refusals: RefusalRow;
  sessions: SessionTableRow;
  messages: MessageRow;
  runs: RunTableRow;
  usage_ledger: UsageRow;
  compactions: CompactionRow;
  budgets: BudgetRow;
  reservations: ReservationRow;
  journal: JournalRow;
  inbox: InboxRow;
  notes: NoteRow;
  run_processes: ProcessRow;
  cron_jobs: CronJobRow;
  cron_fires: CronFireRow;
}
