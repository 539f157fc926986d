/** What stands in the pairing tables: put there before a gateway starts, and read back word for word. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createWireKey, type WireKey } from "./wire-client.ts";

export const storedStates = ["none", "read", "write", "admin", "revoked", "foreign key", "corrupt"] as const;
export type StoredState = (typeof storedStates)[number];

const tables = ["devices", "device_grants", "pairing_requests", "refused_keys", "counters", "past_generations", "nodes", "node_requests"];

/** Every row of the pairing tables as text: two equal dumps are the same to the byte. */
export function dumpPairing(stateDir: string): string {
  using db = new DatabaseSync(join(stateDir, "portreeve.db"), { readOnly: true });
  return tables.map((table) => `${table}: ${JSON.stringify(db.prepare(`select * from ${table} order by 1, 2`).all())}`).join("\n");
}

/** Who is granted what, in the words of the first schema: a database of any schema can be asked. */
export function dumpGrants(stateDir: string): string {
  using db = new DatabaseSync(join(stateDir, "portreeve.db"), { readOnly: true });
  const grants = "select device_id, role, scopes, generation, revoked_at_ms from device_grants order by 1, 2";
  return JSON.stringify([db.prepare(grants).all(), db.prepare("select device_id, public_key from devices order by 1").all()]);
}

/** Stores a device in the given state; answers its key. The gateway must have made the tables. */
export function storeDevice(stateDir: string, state: Exclude<StoredState, "none">): WireKey {
  const key = createWireKey();
  using db = new DatabaseSync(join(stateDir, "portreeve.db"));
  const publicKey = state === "foreign key" ? createWireKey().publicKey : key.publicKey;
  const scopes = {
    read: '["operator.read"]',
    write: '["operator.write"]',
    admin: '["operator.admin"]',
    revoked: '["operator.admin"]',
    "foreign key": '["operator.read"]',
    corrupt: '{"not":"a list"',
  };
  db.prepare(
    "insert into devices (device_id, public_key, display_name, platform, device_family, client_id, client_mode, remote_ip, approved_via, created_at_ms, approved_at_ms, last_seen_at_ms) values (?, ?, 'host', 'linux', null, 'gateway-client', 'backend', null, 'silent', 1, 1, null)",
  ).run(key.id, publicKey);
  db.prepare(
    "insert into device_grants (device_id, role, scopes, generation, created_at_ms, rotated_at_ms, revoked_at_ms) values (?, 'operator', ?, 1, 1, null, ?)",
  ).run(key.id, scopes[state], state === "revoked" ? 2 : null);
  return key;
}

/** Runs one statement on the gateway's database from outside, for faults that no caller can cause. */
export function tamper(stateDir: string, sql: string): void {
  using db = new DatabaseSync(join(stateDir, "portreeve.db"), { timeout: 5_000 });
  db.exec(sql);
}
