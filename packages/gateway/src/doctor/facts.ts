/** What the doctor knows before it judges. Gathered once; no secret is among it. */
import type { ChainVerdict } from "../store/audit-store.ts";
import type { DatabaseFacts } from "../store/inspection.ts";
import type { DeviceState, PairingRecord } from "../store/device-store.ts";

export interface DoctorFacts {
  readonly nowMs: number;
  readonly configFile: string;
  readonly stateDir: string;
  readonly folder: FolderFacts;
  readonly disk: DiskFacts;
  readonly gateway: GatewayFacts;
  /** A mistake a line when it cannot be read; `cure`, when correcting it does not help. */
  readonly config:
    | { readonly kind: "broken"; readonly problem: string; readonly cure?: string | undefined }
    | ({ readonly kind: "read" } & ConfigFacts);
  readonly database:
    | { readonly kind: "missing" }
    /** It has no table yet: its first start did not come so far. */
    | { readonly kind: "empty" }
    /** Even to read it SQLite may need a little room beside it. */
    | { readonly kind: "no-room" }
    | { readonly kind: "unreadable"; readonly problem: string }
    | ({ readonly kind: "read" } & StoreFacts);
  /** The command line of this home; undefined: it has no key yet. */
  readonly own: OwnClient | undefined;
}

export type FolderFacts =
  | { readonly kind: "missing" }
  | { readonly kind: "unreadable"; readonly problem: string }
  | {
      readonly kind: "read";
      readonly modeProblems: readonly ModeProblem[];
      /** Paths that belong to another user. */
      readonly foreign: readonly string[];
      readonly keyProblems: readonly KeyProblem[];
      readonly missingKeys: readonly string[];
      /** The newest change of a file. */
      readonly newestMs: number;
    };

export type DiskFacts =
  | { readonly kind: "unknown" }
  /** `isFull`: it refused a small write. */
  | { readonly kind: "read"; readonly freeBytes: number; readonly isFull: boolean };

/** A key file that is no key. */
export interface KeyProblem {
  readonly path: string;
  /** Names the path. */
  readonly text: string;
}

export interface ModeProblem {
  readonly path: string;
  /** Octal. */
  readonly mode: string;
  readonly allowed: string;
}

/** `stale`: the file says one runs, and its process is gone. `unknown`: something holds the lock and says nothing. */
export type GatewayFacts =
  | { readonly kind: "down" }
  | { readonly kind: "running"; readonly pid: number; readonly url: string }
  | { readonly kind: "stale"; readonly pid: number }
  | { readonly kind: "unknown" };

export interface ConfigFacts {
  /** Why no gateway starts with it. */
  readonly startProblem: string | undefined;
  readonly holdsSecret: boolean;
  /** Others may write it, or read it although it holds a secret. */
  readonly modeProblem: ModeProblem | undefined;
  readonly bind: string;
  readonly publicUrl: string | undefined;
  readonly hasTls: boolean;
  readonly allowedOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  /** Of a secret that a person chose; undefined for the generated one. */
  readonly secretLength: number | undefined;
  readonly models: readonly { readonly agentId: string; readonly model: string; readonly problem: string | undefined }[];
  /** What stands in for an agent's model and cannot. */
  readonly unusableFallbacks: readonly { readonly agentId: string; readonly model: string; readonly problem: string }[];
  /** Configured ones; others are made at the start. */
  readonly missingWorkspaces: readonly { readonly agentId: string; readonly path: string }[];
}

export interface StoreFacts extends DatabaseFacts {
  readonly chain: ChainVerdict;
  readonly devices: readonly { readonly deviceId: string; readonly state: DeviceState }[];
  readonly pending: readonly PairingRecord[];
  /** Runs that have not ended and whose journal does not fold. */
  readonly brokenJournals: readonly { readonly runId: string; readonly problem: string }[];
}

export interface OwnClient {
  readonly deviceId: string;
  /** What it declares when it is paired: what its commands need. */
  readonly scopes: readonly string[];
  readonly tokensFile: string;
}
