/** What is sent to nodes and what waits for them, as atomic sentences of the store. */

import type { ApprovalUse } from "./approvals.ts";

/** One call of `node.invoke` by whoever made it, under its own key. */
export interface InvocationKey {
  readonly principal: string;
  readonly key: string;
}

export interface NewInvocation extends InvocationKey {
  /** Of everything that is asked: a key stands for one ask. */
  readonly fingerprint: string;
  readonly nodeId: string;
  readonly command: string;
  /** Used up with it. */
  readonly approval?: ApprovalUse | undefined;
}

export type NodeTask = "status.request" | "location.request";

export interface NodeWork {
  readonly id: string;
  readonly type: NodeTask;
  readonly priority: "normal" | "high";
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** Work of one node; `revision` grows with every change of it. */
export interface NodeQueue {
  readonly revision: number;
  /** What has not expired, the most urgent first, then the oldest. */
  readonly items: readonly NodeWork[];
}

export interface NodeWorkStore {
  /**
   * Notes that the command is about to be sent, if it is approved for the node at this moment: whatever happens from here on, it
   * is never sent under this key again. Keys are remembered for a day.
   */
  beginInvocation(
    invocation: NewInvocation,
    nowMs: number,
  ): Promise<"begun" | "repeated" | "other-ask" | "node-unapproved" | "command-unapproved" | "approval-unusable">;
  /** It was not sent after all. */
  dropInvocation(key: InvocationKey): Promise<void>;
  /** One piece of each type waits for a node: asked again it waits longer, and with the higher priority. Undefined: no such node. */
  enqueue(
    work: { readonly nodeId: string; readonly type: NodeTask; readonly priority: "normal" | "high"; readonly expiresAtMs: number },
    nowMs: number,
  ): Promise<{ readonly revision: number; readonly queued: NodeWork } | undefined>;
  listWork(nodeId: string, nowMs: number): Promise<NodeQueue>;
  /** Only work of this node is done by it. Answers which of the ids were, and what is left. */
  finishWork(nodeId: string, ids: readonly string[], nowMs: number): Promise<{ readonly done: readonly string[]; readonly left: number }>;
}
