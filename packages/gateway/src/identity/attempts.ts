/**
 * What guessing costs. A program on this machine only waits, longer each time, and is never locked out; any other peer, and
 * the pages of its browsers together, are locked out for a while. A device that proves its key and has its token passes its peer's lock.
 */
import { isIPv6 } from "node:net";
import type { ConnectParams } from "@portreeve/protocol";
import { sleepUntil, type Clock } from "../kit/clock.ts";
import { type AttemptKind, type AttemptRule, type AttemptStore, longestLockMs } from "../store/attempt-store.ts";
import type { Match } from "./credentials.ts";

export interface AttemptPeer {
  readonly address: string;
  readonly directLoopback: boolean;
  /** Of a browser's page. */
  readonly origin?: string | undefined;
}

/** What one connection offered, and what it proved to be. */
export interface Offer {
  readonly auth: ConnectParams["auth"];
  readonly secret: Match;
  /** Right only for a paired device that proved its key. */
  readonly token: Match;
  /** Of a setup code, which comes beside nothing else; absent: none was offered. */
  readonly code?: Exclude<Match, "absent">;
}

export type AttemptVerdict =
  /** `secret`: as far as it may count; a right one is wrong while its peer is locked. */
  { readonly kind: "open"; readonly secret: Match } | { readonly kind: "locked"; readonly retryAfterMs: number };

export interface Attempts {
  /** Counts the offer and says whether it may be looked at. A refusal of a local peer is held back; `signal` ends the wait. */
  settle(peer: AttemptPeer, offer: Offer, signal: AbortSignal): Promise<AttemptVerdict>;
}

const lockRule: AttemptRule = { maxFailures: 10, windowMs: 60_000, lockMs: longestLockMs };
const delayRule: AttemptRule = { ...lockRule, lockMs: 0 };
const delay = { firstMs: 250, longestMs: 5_000 };

export function createAttempts({ store, clock }: { readonly store: AttemptStore; readonly clock: Clock }): Attempts {
  return {
    async settle(peer, offer, signal) {
      const { key, rule } = ruleFor(peer);
      const nowMs = clock.now();
      const outcomes = await Promise.all(
        attemptsIn(offer).map(async ({ kind, isRight }) => {
          const verdict = await (isRight ? store.pass({ kind, peer: key }, rule, nowMs) : store.fail({ kind, peer: key }, rule, nowMs));
          return { kind, isRight, verdict };
        }),
      );
      const isLocked = outcomes.some(({ kind, verdict }) => kind === "shared-secret" && verdict.kind === "locked");
      const secret = isLocked ? "wrong" : offer.secret;
      if (secret === "right" || offer.token === "right") return { kind: "open", secret };
      const waits = outcomes.flatMap(({ verdict }) => (verdict.kind === "locked" ? [verdict.untilMs - nowMs] : []));
      if (waits.length > 0) return { kind: "locked", retryAfterMs: Math.max(...waits) };
      const failures = Math.max(0, ...outcomes.map(({ verdict }) => (verdict.kind === "counted" ? verdict.failures : 0)));
      // The connection that waits is the only one that does: nothing is held meanwhile.
      if (rule === delayRule && failures > 0) await sleepUntil(clock, nowMs + delayAfter(failures), signal).catch(() => undefined);
      return { kind: "open", secret };
    },
  };
}

/** How long the answer to the last of `failures` in a row is held back. */
export function delayAfter(failures: number): number {
  return Math.min(delay.longestMs, delay.firstMs * 2 ** (failures - 1));
}

/** Whose attempts count together, and what too many of them do. */
export function ruleFor({ address, directLoopback, origin }: AttemptPeer): { readonly key: string; readonly rule: AttemptRule } {
  if (!directLoopback) return { key: toNetwork(address), rule: lockRule };
  // Whoever is no page may name another origin with each guess: they count as one.
  return origin === undefined ? { key: "loopback", rule: delayRule } : { key: "pages", rule: lockRule };
}

/** One person has all of an IPv6 /64. */
export function toNetwork(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail = ""] = address.split("::");
  const [left, right] = [head.split(":"), tail.split(":")].map((part) => part.filter((group) => group !== ""));
  const zeros = Array.from({ length: Math.max(0, 8 - (left?.length ?? 0) - (right?.length ?? 0)) }, () => "0");
  return `${[...(left ?? []), ...zeros, ...(right ?? [])].slice(0, 4).join(":")}::/64`;
}

/** The attempts in an offer: nothing offered is none, and a device token that is repeated in the secret's field is no guess. */
function attemptsIn({ auth, secret, token, code }: Offer): readonly { readonly kind: AttemptKind; readonly isRight: boolean }[] {
  const ownToken = token === "right" ? auth?.deviceToken || auth?.token : undefined;
  const isGuess = [auth?.token, auth?.password].some((value) => value !== undefined && value !== "" && value !== ownToken);
  const countsSecret = secret === "right" || (secret === "wrong" && isGuess);
  const countsToken = token === "right" || (token === "wrong" && Boolean(auth?.deviceToken));
  return [
    ...(countsSecret ? [{ kind: "shared-secret" as const, isRight: secret === "right" }] : []),
    ...(code === undefined ? [] : [{ kind: "setup-code" as const, isRight: code === "right" }]),
    ...(countsToken ? [{ kind: "device-token" as const, isRight: token === "right" }] : []),
  ];
}
