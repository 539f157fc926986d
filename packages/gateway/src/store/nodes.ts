/** What nodes declare and what of it is approved, as atomic sentences of the store. */
import type { Actor } from "./device-management.ts";

export interface NodeFacts {
  /** Its device id. */
  readonly nodeId: string;
  readonly clientId: string;
  readonly clientMode: string;
  readonly displayName: string | undefined;
  readonly platform: string;
  readonly version: string;
  readonly deviceFamily: string | undefined;
  readonly modelIdentifier: string | undefined;
}

export interface NodeSurface {
  readonly caps: readonly string[];
  readonly commands: readonly string[];
  readonly permissions: Readonly<Record<string, boolean>>;
}

export interface NodeDeclaration extends NodeFacts, NodeSurface {}

export interface NodeRequestRecord extends NodeDeclaration {
  /** What an operator calls the device. */
  readonly label?: string | undefined;
  readonly requestId: string;
  readonly createdAtMs: number;
}

export interface NodeRecord extends NodeDeclaration {
  readonly label?: string | undefined;
  readonly createdAtMs: number;
  readonly approvedAtMs: number;
}

/** What somebody else asks for a node. */
export type NodeAsk = Pick<NodeDeclaration, "nodeId" | "caps" | "commands">;

export type AskOutcome =
  /** All of it is approved already, and nothing waits. */
  | { readonly kind: "covered"; readonly node: NodeRecord }
  | { readonly kind: "pending"; readonly request: NodeRequestRecord; readonly created: boolean; readonly resolved: string | undefined }
  /** No device that is paired as a node. */
  | { readonly kind: "unknown" }
  | { readonly kind: "denied" }
  /** With what waits it would be more than a node may declare. */
  | { readonly kind: "too-much" };

export interface NodeStore {
  /**
   * Compares with what is approved: within it nothing waits any more (`covered`), else one request a node waits; the same
   * declaration keeps its request, another one replaces it. `resolved`: the request that is thereby gone.
   */
  declare(
    declaration: NodeDeclaration,
    nowMs: number,
  ): Promise<
    | { readonly kind: "covered"; readonly resolved: string | undefined }
    | { readonly kind: "pending"; readonly request: NodeRequestRecord; readonly created: boolean; readonly resolved: string | undefined }
  >;
  /**
   * Adds to what waits, else to what is approved; the node's own facts stay. Asked for what waits already, the answer is that
   * request. `resolved`: the request that is replaced.
   */
  ask(ask: NodeAsk, actor: Actor, nowMs: number): Promise<AskOutcome>;
  find(nodeId: string): Promise<{ readonly pending: NodeRequestRecord | undefined; readonly approved: NodeRecord | undefined }>;
  list(): Promise<{ readonly pending: readonly NodeRequestRecord[]; readonly paired: readonly NodeRecord[] }>;
  /** `needs`: the scopes that approving these commands takes, checked against what the approver holds for good. */
  approve(
    requestId: string,
    approver: Actor & { readonly needs: (commands: readonly string[]) => readonly string[] },
    nowMs: number,
  ): Promise<
    | { readonly kind: "approved"; readonly node: NodeRecord }
    | { readonly kind: "unknown" }
    | { readonly kind: "denied" }
    | { readonly kind: "exceeds-approver"; readonly scope: string }
  >;
  reject(
    requestId: string,
    rejecter: Actor,
    nowMs: number,
  ): Promise<{ readonly kind: "rejected"; readonly nodeId: string } | { readonly kind: "unknown" } | { readonly kind: "denied" }>;
  /** Forgets the approval and what waits. `requestId`: of what waited. */
  remove(
    nodeId: string,
    actor: Actor,
    nowMs: number,
  ): Promise<
    { readonly kind: "removed"; readonly requestId: string | undefined } | { readonly kind: "unknown" } | { readonly kind: "denied" }
  >;
}
