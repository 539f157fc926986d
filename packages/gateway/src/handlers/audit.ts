/** The audit: its rows, its chain, counted refusals, and why something was decided. */
import { type ErrorCode, ProtocolError } from "@portreeve/protocol";
import { explain } from "../audit/explain.ts";
import { ambiguousId, findMeantId } from "../audit/whole-id.ts";
import type { Handlers } from "../dispatch/types.ts";
import type { Store } from "../store/store.ts";

export interface AuditHandlerDeps {
  readonly store: Store;
  readonly now: () => number;
  /** Writes down what was counted so far, so that a reader sees it. */
  readonly flushRefusals: () => Promise<void>;
}

type AuditMethods = "audit.list" | "audit.verify" | "audit.refusals" | "audit.explain";

const pageRows = 100;
const refusalsSinceMs = 86_400_000;

export function auditHandlers({ store, now, flushRefusals }: AuditHandlerDeps): Pick<Handlers, AuditMethods> {
  return {
    "audit.list": async (_context, { limit = pageRows, cursor, kind, ...params }) => {
      const meant = params.subject === undefined ? undefined : await findMeantId(store.audit, params.subject);
      if (meant?.kind === "ambiguous") throw refusalOf(ambiguousId(params.subject ?? "", meant.ids));
      const subject = meant?.id;
      const filter = { beforeSeq: cursor === undefined ? undefined : Number(cursor), kind, subject };
      const rows = (await store.audit.list(limit + 1, filter)).toReversed();
      const page = rows.slice(0, limit);
      const last = page.at(-1);
      return {
        rows: page.map(({ factsText, facts: _facts, ...row }) => ({ ...row, facts: factsText })),
        ...(rows.length > limit && last !== undefined ? { nextCursor: String(last.seq) } : {}),
      };
    },

    "audit.verify": async () => {
      const { rows, head, firstBreak } = await store.audit.verify();
      return {
        ok: firstBreak === undefined,
        rows,
        ...(head === undefined ? {} : { head }),
        ...(firstBreak === undefined ? {} : { firstBreak }),
      };
    },

    "audit.refusals": async (_context, { sinceMs = now() - refusalsSinceMs, limit = pageRows }) => {
      await flushRefusals();
      return { refusals: [...(await store.refusals.list({ sinceMs, limit }))] };
    },

    "audit.explain": async (_context, { id }) => {
      await flushRefusals();
      const explained = await explain(store, id, now());
      if (explained.kind === "steps") return { id, steps: [...explained.steps] };
      throw refusalOf(explained.refusal);
    },
  };
}

function refusalOf({
  code,
  message,
  remedy,
}: {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}): ProtocolError {
  return new ProtocolError(code, message, { remedy });
}
