import assert from "node:assert/strict";
import test from "node:test";
import type { RunStatus } from "@portreeve/protocol";
import { type DeliveryFacts, type DeliveryHop, isOpenToDecision, toDelivery } from "./deliveries.ts";

const unread: DeliveryHop = {
  generation: 1,
  state: "unread",
  toSessionKey: "agent:main:main",
  createdAtMs: 5,
  settledAtMs: undefined,
  readBy: undefined,
  closedBy: undefined,
};
const read: DeliveryHop = { ...unread, state: "read", settledAtMs: 7, readBy: "run_a" };
const nothing: DeliveryFacts = { isOwed: true, hasEnded: true, newest: undefined, readerStatus: undefined, comingReader: undefined };

const cases: readonly (readonly [what: string, facts: Partial<DeliveryFacts>, status: string, readBy?: string])[] = [
  ["a run whose result nobody is owed", { isOwed: false, hasEnded: false }, "not_required"],
  ["a child that has not ended", { hasEnded: false }, "pending"],
  ["a child that was cancelled with its parent", {}, "not_required"],
  ["a result that a run will read", { newest: unread, comingReader: "run_a" }, "pending", "run_a"],
  ["a result that no run will read", { newest: unread }, "blocked"],
  ["a result that a run has read which goes on", { newest: read, readerStatus: "running" }, "delivered", "run_a"],
  ["a result whose reader is gone", { newest: read }, "delivered", "run_a"],
  ["a result that was dismissed unread", { newest: { ...unread, state: "dismissed", settledAtMs: 9 } }, "dismissed"],
  [
    "a result that was dismissed after it was read",
    { newest: { ...read, state: "dismissed" }, readerStatus: "failed" },
    "dismissed",
    "run_a",
  ],
];

for (const [what, facts, status, readBy] of cases) {
  test(`${what} is ${status}`, () => {
    const delivery = toDelivery({ ...nothing, ...facts });

    assert.deepEqual([delivery.status, delivery.readBy], [status, readBy]);
  });
}

test("how its reader ended says whether a result has counted", () => {
  const statuses: readonly RunStatus[] = [
    "succeeded",
    "cancelled",
    "waiting",
    "failed",
    "timed_out",
    "stalled",
    "interrupted",
    "budget_exceeded",
    "rejected",
  ];

  const said = statuses.map((readerStatus) => toDelivery({ ...nothing, newest: read, readerStatus }).status);

  assert.deepEqual(said, [...Array<string>(3).fill("delivered"), ...Array<string>(6).fill("unconfirmed")]);
});

test("only what is blocked or unconfirmed is open to a decision", () => {
  const all = ["not_required", "pending", "delivered", "unconfirmed", "blocked", "dismissed"] as const;

  assert.deepEqual(all.filter(isOpenToDecision), ["unconfirmed", "blocked"]);
});
