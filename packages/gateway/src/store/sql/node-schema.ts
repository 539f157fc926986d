/** Rows about nodes: what is approved for them, what is sent to them, and what people decide about programs. */

/** What is approved for a node. `declaration`: a NodeDeclaration as JSON. */
export interface NodeRow {
  node_id: string;
  declaration: string;
  created_at_ms: number;
  approved_at_ms: number;
  work_revision: number;
}

/** A command that was sent to a node, or was about to be. */
export interface InvocationRow {
  principal: string;
  idempotency_key: string;
  fingerprint: string;
  created_at_ms: number;
}

export interface NodeWorkRow {
  node_id: string;
  type: string;
  work_id: string;
  is_urgent: number;
  created_at_ms: number;
  expires_at_ms: number;
}

export interface ApprovalRow {
  approval_id: string;
  requester: string;
  /** JSON. */
  reviewers: string;
  shown: string;
  /** Digest of the effect. */
  binding: string;
  node_id: string | null;
  state: string;
  decision: string | null;
  decided_by: string | null;
  decided_at_ms: number | null;
  used_at_ms: number | null;
  created_at_ms: number;
  expires_at_ms: number;
}

/** What a node declared beyond that; one waits for each. */
export interface NodeRequestRow {
  node_id: string;
  request_id: string;
  declaration: string;
  created_at_ms: number;
}
