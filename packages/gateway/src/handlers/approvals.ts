/** Exec approvals: asked, decided, shown. */
import { createHash } from "node:crypto";
import { type Approvals, toPending } from "../approvals/approvals.ts";
import type { Handlers } from "../dispatch/types.ts";

type ApprovalMethod = Extract<keyof Handlers, `exec.approval${string}`>;

export function approvalHandlers({ approvals }: { readonly approvals: Approvals }): Pick<Handlers, ApprovalMethod> {
  return {
    "exec.approval.request": ({ principal, signal, accept }, params) => approvals.request(principal, params, { signal, accept }),
    "exec.approval.waitDecision": ({ principal, signal }, { id }) => approvals.wait(principal, id, signal),
    "exec.approval.resolve": async ({ principal }, decision) => {
      await approvals.resolve(principal, decision);
      return { ok: true };
    },
    "exec.approval.get": async ({ principal }, { id }) => {
      const approval = await approvals.find(principal, id);
      const { shown, state, decision = null, decidedBy = null, decidedAtMs = null } = approval;
      const { host, nodeId, agentId, allowedDecisions } = shown;
      const presentation = { commandText: shown.command, commandPreview: null, allowedDecisions, host, nodeId, agentId };
      return { ...toPending(approval), ...presentation, status: state, decision, resolvedBy: decidedBy, resolvedAtMs: decidedAtMs };
    },
    "exec.approval.list": async ({ principal }) => (await approvals.list(principal)).map(toPending),
    "exec.approvals.get": () => Promise.resolve({ path: "exec-approvals", exists: false, hash, file: noPolicy, resolvedDefaults }),
  };
}

/** The gateway runs no program that nobody approved, and keeps no list of those that may run without. */
const noPolicy = { version: 1 as const, defaults: {}, agents: {} };
const resolvedDefaults = { security: "deny", ask: "always", askFallback: "deny", autoAllowSkills: false } as const;
const hash = createHash("sha256").update(JSON.stringify(noPolicy)).digest("hex");
