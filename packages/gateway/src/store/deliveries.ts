/** What became of a run's result: a fact of its own, never part of the run's outcome. Pure. */
import type { RunStatus } from "@portreeve/protocol";

export type DeliveryStatus = "not_required" | "pending" | "delivered" | "unconfirmed" | "blocked" | "dismissed";

/** One inbox row: a way the result took. */
export interface DeliveryHop {
  readonly generation: number;
  readonly state: "unread" | "read" | "superseded" | "dismissed";
  readonly toSessionKey: string;
  readonly createdAtMs: number;
  /** When it was read, superseded or dismissed. */
  readonly settledAtMs: number | undefined;
  /** The run whose turn has read it. */
  readonly readBy: string | undefined;
  readonly closedBy: string | undefined;
}

export interface Delivery {
  readonly status: DeliveryStatus;
  /** The run that has read the result, or that will. */
  readonly readBy: string | undefined;
  readonly atMs: number | undefined;
}

export interface DeliveryFacts {
  /** Whether a session waits to be told: that of a parent who wants to know. */
  readonly isOwed: boolean;
  readonly hasEnded: boolean;
  /** The way of the highest generation, if there is any. */
  readonly newest: DeliveryHop | undefined;
  /** How the run that has read `newest` stands; undefined: none has, or it is gone. */
  readonly readerStatus: RunStatus | undefined;
  /** The run that will read `newest` by itself. */
  readonly comingReader: string | undefined;
}

/** Ends of a reader after which nobody can say that what it read has counted. A person who cancelled it has decided. */
export const unsureEndings: readonly RunStatus[] = ["failed", "timed_out", "stalled", "interrupted", "budget_exceeded", "rejected"];

export function toDelivery({ isOwed, hasEnded, newest, readerStatus, comingReader }: DeliveryFacts): Delivery {
  if (newest === undefined) return { status: isOwed && !hasEnded ? "pending" : "not_required", readBy: undefined, atMs: undefined };
  const settled = { readBy: newest.readBy, atMs: newest.settledAtMs };
  switch (newest.state) {
    case "dismissed":
    case "superseded":
      return { status: "dismissed", ...settled };
    case "read":
      return { status: readerStatus !== undefined && unsureEndings.includes(readerStatus) ? "unconfirmed" : "delivered", ...settled };
    case "unread":
      return { status: comingReader === undefined ? "blocked" : "pending", readBy: comingReader, atMs: newest.createdAtMs };
  }
}

/** Whether a person may have the result delivered again, or leave it at that. */
export function isOpenToDecision(status: DeliveryStatus): boolean {
  return status === "blocked" || status === "unconfirmed";
}
