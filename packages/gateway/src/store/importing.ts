/** What comes from another gateway's state, as atomic sentences of the store: each is made once, and widens nothing that is there. */
import type { CronJobToWrite } from "./cron-store.ts";
import type { DeviceFacts } from "./device-store.ts";
import type { TranscriptMessage } from "./store.ts";

export interface DeviceToImport extends DeviceFacts {
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
}

export interface SessionToImport {
  readonly key: string;
  readonly agentId: string;
  /** As it was there; another one when it is taken. */
  readonly sessionId: string;
  readonly label: string | undefined;
  /** Another than its agent's. */
  readonly model: string | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly archivedAtMs: number | undefined;
  readonly messages: readonly TranscriptMessage[];
}

export interface ImportStore {
  /** Pairs the device with its audit row. `refused`: somebody here rejected, removed or revoked that key. */
  device(device: DeviceToImport, from: string, nowMs: number): Promise<"imported" | "paired" | "refused" | "waiting">;
  session(session: SessionToImport): Promise<"imported" | "exists">;
  hasSession(key: string): Promise<boolean>;
  /** `sourceId`: the same one is the same job. */
  job(
    job: CronJobToWrite,
    sourceId: string,
    nowMs: number,
  ): Promise<{ readonly kind: "imported"; readonly jobId: string } | { readonly kind: "exists" } | { readonly kind: "too-many" }>;
  /** Appends what came over to the audit. */
  record(from: string, counts: Readonly<Record<string, number>>, nowMs: number): Promise<void>;
}
