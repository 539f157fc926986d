/** The first schema. */
import type { Kysely } from "kysely";
import { sql } from "kysely";

const statements = [
  `create table devices (
    device_id text primary key, public_key text not null, display_name text, platform text, device_family text,
    client_id text not null, client_mode text not null, remote_ip text, approved_via text not null,
    created_at_ms integer not null, approved_at_ms integer not null, last_seen_at_ms integer)`,
  `create table device_grants (
    device_id text not null references devices(device_id) on delete cascade, role text not null, scopes text not null,
    generation integer not null, created_at_ms integer not null, rotated_at_ms integer, revoked_at_ms integer,
    primary key (device_id, role))`,
  `create table pairing_requests (
    request_id text primary key, device_id text not null, public_key text not null, display_name text, platform text,
    device_family text, client_id text not null, client_mode text not null, remote_ip text, role text not null,
    roles text not null, scopes text not null, reason text not null, is_repair integer not null, state text not null,
    created_at_ms integer not null, expires_at_ms integer not null)`,
  `create index pairing_requests_by_device on pairing_requests (device_id, state)`,
  `create table refused_keys (public_key text primary key, refused_at_ms integer not null)`,
  `create table counters (name text primary key, value integer not null)`,
  `create table audit (
    seq integer primary key, at_ms integer not null, kind text not null, actor text not null, subject text not null,
    facts text not null, prev_hash text not null, hash text not null)`,
  `create table sessions (
    session_key text primary key, session_id text not null unique, agent_id text not null, label text, model text,
    created_at_ms integer not null, updated_at_ms integer not null, archived_at_ms integer, created_by text not null,
    root_key text not null, parent_key text, depth integer not null, role text not null, cleanup text not null)`,
  `create index sessions_by_update on sessions (updated_at_ms)`,
  `create index sessions_by_parent on sessions (parent_key)`,
  `create table messages (
    message_id text primary key, session_key text not null references sessions(session_key) on delete cascade,
    seq integer not null, body text not null, unique (session_key, seq))`,
  `create table runs (
    run_id text primary key, wire_id text not null, idempotency_key text not null, asked_in text not null,
    params_hash text not null, session_key text not null, session_id text not null, root_session_key text not null,
    agent_id text not null, "trigger" text not null, input text not null, label text, model text not null,
    scopes text not null, owner integer not null, depth integer not null, started_by text not null,
    parent_run_id text, parent_session_key text, status text not null, lease_owner text, lease_until_ms integer,
    epoch integer not null, timeout_ms integer, deadline_at_ms integer, created_at_ms integer not null,
    started_at_ms integer, ended_at_ms integer, ending text, usage_input integer not null, usage_output integer not null,
    unique (started_by, asked_in, idempotency_key))`,
  `create index runs_by_status on runs (status, created_at_ms)`,
  `create index runs_by_session on runs (session_key, status)`,
  `create index runs_by_parent on runs (parent_session_key, status)`,
  `create index runs_by_parent_run on runs (parent_run_id)`,
  `create index runs_by_wire_id on runs (wire_id)`,
  `create table journal (
    run_id text not null references runs(run_id) on delete cascade, seq integer not null, epoch integer not null,
    at_ms integer not null, entry text not null, primary key (run_id, seq))`,
  `create table inbox (
    inbox_id text primary key, session_key text not null, parent_run_id text, child_run_id text not null,
    generation integer not null, completion text not null, created_at_ms integer not null, consumed_by text,
    consumed_at_ms integer, unique (child_run_id, generation))`,
  `create index inbox_unread on inbox (session_key, consumed_at_ms)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
