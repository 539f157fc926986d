/**
 * Damaged handshakes over real sockets, against a whole gateway whose clock the test moves: none crashes it, none outlives the
 * handshake's timeout, none gets in without a credential, and no stored scope rises but as the policy says.
 * `PORTREEVE_FUZZ=long` takes ten times the cases and watches memory; `PORTREEVE_FUZZ_SEED` repeats a printed seed.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { coversAll, limits, normaliseScopes, type PairedDevice, scopeNames } from "@portreeve/protocol";
import fc from "fast-check";
import { createManualClock, type ManualClock } from "../support/manual-clock.ts";
import { openRawPeer, type RawPeer } from "../support/raw-peer.ts";
import { startGateway, type TestGateway } from "../support/start-gateway.ts";
import { createWireKey, type WireKey } from "../support/wire-client.ts";
import { fuzzPlan } from "./connect-mutations.ts";
import {
  connectMessage,
  deliver,
  deviceCount,
  headersOf,
  isUndamaged,
  mustBeAnswered,
  type SocketCase,
  socketCase,
  tokenOf,
} from "./socket-cases.ts";

/** Below what one peer may hold before its hello. */
const batchSize = 24;
/** The longest that a refusal is held back. */
const momentMs = 5_000;

/** What is known from outside of the gateway under attack. */
class Attack {
  readonly gateway: TestGateway;
  readonly clock: ManualClock;
  readonly keys: readonly WireKey[] = Array.from({ length: deviceCount }, createWireKey);
  readonly tokens = new Map<number, string>();
  /** Scopes that a right, local, first connect of a device may have been given silently. */
  readonly silentAsks = new Map<string, Set<string>>();
  readonly outcomes = new Map<string, number>();
  #oldNonce = "00000000-0000-4000-8000-000000000000";

  constructor(gateway: TestGateway, clock: ManualClock) {
    this.gateway = gateway;
    this.clock = clock;
  }

  /** Runs the cases side by side and leaves no socket behind. */
  async runBatch(cases: readonly SocketCase[]): Promise<void> {
    const peers = await Promise.all(cases.map((one) => this.#open(one)));
    await Promise.all(
      cases.map(async (one, index) => {
        const peer = peers[index];
        if (peer !== undefined && mustBeAnswered(one)) await peer.answered;
      }),
    );
    // Whoever has not said hello by now runs into the timeout, and whoever has is left alone by it.
    this.clock.advance(limits.handshakeTimeoutMs);
    for (const [index, one] of cases.entries()) {
      const peer = peers[index];
      if (peer === undefined) continue;
      const isIn = peer.frames.some((frame) => frame.id === "c" && frame.ok === true);
      if (isIn) peer.destroy();
      await peer.closed;
      this.#judge(one, peer, isIn);
    }
  }

  async #open(one: SocketCase): Promise<RawPeer | undefined> {
    const peer = await openRawPeer(this.gateway.url, headersOf(one));
    if (peer === undefined) return undefined;
    const nonce = String(peer.frames[0]?.payload?.["nonce"]);
    const secrets = { nowMs: this.clock.now(), secret: this.gateway.token, keys: this.keys, tokens: this.tokens, oldNonce: this.#oldNonce };
    // A token may be replaced by an approval while it is presented; which one it was decides nothing below.
    deliver(peer, one.delivery, connectMessage(one, nonce, secrets));
    if (one.isLocal && one.credential === "secret" && one.device !== undefined && one.proof === "good")
      this.#rememberAsk(one.device, one.scopes);
    if (tokenOf(one, secrets) === undefined && one.credential === "own token") this.#count("own token, none yet");
    this.#oldNonce = nonce;
    return peer;
  }

  #judge(one: SocketCase, peer: RawPeer, isIn: boolean): void {
    const refusal = peer.frames.find((frame) => frame.ok === false);
    this.#count(isIn ? "in" : String(refusal?.error?.details?.["code"] ?? "closed"));
    const shown = JSON.stringify(one);
    assert.notEqual(refusal?.error?.details?.["code"], "INTERNAL", shown);
    if (!isIn) {
      // Nothing follows a refusal: what was pipelined behind it is not answered.
      assert.ok(peer.frames.length <= 2, `${shown}: ${JSON.stringify(peer.frames)}`);
      return;
    }
    assert.ok(one.credential === "secret" || one.credential === "own token", shown);
    assert.notEqual(one.origin, "foreign", shown);
    const hello = peer.frames.find((frame) => frame.id === "c")?.payload?.["auth"] as
      | { scopes: string[]; deviceToken?: string }
      | undefined; // Version 3 has none without a device, and there names the token's scopes.
    const damagedDevice = one.mutations.some((change) => change.path[0] === "device");
    if (one.device !== undefined && !damagedDevice) assert.equal(one.proof, "good", shown);
    if (one.mutations.length === 0 && one.change === "none" && one.protocol === 4)
      assert.ok(coversAll(one.scopes, hello?.scopes ?? []), shown);
    if (hello?.deviceToken !== undefined && one.device !== undefined) this.tokens.set(one.device, hello.deviceToken);
    if (isUndamaged(one)) this.#count("in, undamaged");
  }

  #rememberAsk(device: number, scopes: readonly string[]): void {
    const id = this.keys[device]?.id ?? "";
    this.silentAsks.set(id, (this.silentAsks.get(id) ?? new Set()).add(normaliseScopes(scopes).join()));
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  async paired(): Promise<ReadonlyMap<string, PairedDevice>> {
    const { paired } = await this.gateway.callerWith("operator.pairing").call("device.pair.list", {});
    return new Map(paired.map((device) => [device.deviceId, device]));
  }
}

function operatorScopes(device: PairedDevice | undefined): readonly string[] {
  return device?.tokens.find((token) => token.role === "operator")?.scopes ?? [];
}

/** After connects alone: who was paired is as before, who is new has what one right local connect of its own asked. */
function assertNothingRaised(attack: Attack, before: ReadonlyMap<string, PairedDevice>, after: ReadonlyMap<string, PairedDevice>): void {
  for (const [id, device] of after) {
    const known = before.get(id);
    if (known !== undefined) assert.deepEqual(operatorScopes(device), operatorScopes(known), id);
    else {
      assert.equal(device.approvedVia, "silent");
      const granted = operatorScopes(device);
      assert.ok(granted.length === 0 || attack.silentAsks.get(id)?.has(granted.join()), `${id} was given ${granted.join()}`);
      assert.ok(granted.every((scope) => scopeNames.some((name) => name === scope)));
    }
  }
  assert.equal(
    [...before.keys()].every((id) => after.has(id)),
    true,
  );
}

/** One approver with random scopes tries what waits: whoever gained by it, gained nothing that the approver lacks. */
async function approveSome(attack: Attack, held: readonly (typeof scopeNames)[number][]): Promise<number> {
  const before = await attack.paired();
  const { pending } = await attack.gateway.callerWith("operator.pairing").call("device.pair.list", {});
  const approver = attack.gateway.callerWith("operator.pairing", ...held);
  const approved = new Set<string>();
  for (const { requestId, deviceId } of pending.slice(0, 6)) {
    const outcome = await approver.call("device.pair.approve", { requestId }).catch((error: { code: string }) => error.code);
    if (typeof outcome === "string") assert.equal(outcome, "MISSING_SCOPE");
    else approved.add(deviceId);
  }
  for (const [id, device] of await attack.paired()) {
    const scopes = operatorScopes(device);
    if (approved.has(id)) assert.ok(coversAll(["operator.pairing", ...held], scopes), `${held.join()} gave ${scopes.join()}`);
    else assert.deepEqual(scopes, operatorScopes(before.get(id)), id);
  }
  return approved.size;
}

test(
  "5,000 damaged handshakes neither break the gateway nor outlive the timeout nor raise a stored scope",
  { timeout: 1_200_000 },
  async (t) => {
    const plan = fuzzPlan(5_000);
    t.diagnostic(`seed ${plan.seed}`);
    const cases = fc.sample(socketCase, plan);
    const approvers = fc.sample(fc.subarray([...scopeNames]), plan);
    const clock = hurried(createManualClock());
    await using gateway = await startGateway({ clock, config: { gateway: { trustedProxies: ["127.0.0.1"] } } });
    const attack = new Attack(gateway, clock);
    const memory: number[] = [];
    let approvals = 0;

    for (let index = 0; index < cases.length; index += batchSize) {
      const before = await attack.paired();
      await attack.runBatch(cases.slice(index, index + batchSize));
      assertNothingRaised(attack, before, await attack.paired());
      if (index % 5 === 0) approvals += await approveSome(attack, approvers[index] ?? []);
      if (index % (batchSize * 50) === 0) memory.push(process.memoryUsage().rss);
    }

    t.diagnostic(JSON.stringify({ ...Object.fromEntries(attack.outcomes), approvals }));
    assert.equal((await fetch(`${gateway.url.replace(/^ws/, "http")}/readyz`)).status, 200);
    assert.deepEqual(
      gateway.logLines.filter((line) => line.level === "error"),
      [],
    );
    for (const outcome of ["in", "in, undamaged", "PAIRING_REQUIRED", "INVALID_HANDSHAKE", "DEVICE_AUTH_SIGNATURE_INVALID", "closed"])
      assert.ok((attack.outcomes.get(outcome) ?? 0) > plan.numRuns / 200, `${outcome} was hardly tried`);
    assert.ok(approvals > 10);
    await assertPlacesAreFree(gateway, clock);
    if (plan.isLong) assertFlat(memory);
  },
);

/** Does at once what is due in a moment: a refusal that is held back from a guesser would wait for a clock that stands still. */
function hurried(clock: ManualClock): ManualClock {
  let isHurrying = false;
  return {
    ...clock,
    schedule(atMs, task) {
      // What comes back again and again would never let go.
      if (isHurrying || atMs - clock.now() > momentMs) return clock.schedule(atMs, task);
      const immediate = setImmediate(() => {
        isHurrying = true;
        task();
        isHurrying = false;
      });
      return { [Symbol.dispose]: () => clearImmediate(immediate) };
    },
  };
}

/** Every place that a peer may hold before its hello is there again, and nothing is open. */
async function assertPlacesAreFree(gateway: TestGateway, clock: ManualClock): Promise<void> {
  assert.equal(gateway.gateway.listener.counts().open, 0);
  const held = await Promise.all(Array.from({ length: limits.unauthenticatedSocketsPerPeer }, () => openRawPeer(gateway.url)));
  assert.ok(held.every((peer) => peer !== undefined));
  assert.equal(await openRawPeer(gateway.url), undefined);
  clock.advance(limits.handshakeTimeoutMs);
  await Promise.all(held.map((peer) => peer?.closed));
}

/** The second half of a long run holds what the first half came to: what is kept does not grow with what was refused. */
function assertFlat(memory: readonly number[]): void {
  const [middle = 0, last = 0] = [memory[Math.floor(memory.length / 2)], memory.at(-1)];
  assert.ok(last < middle * 1.25, `from ${middle} to ${last} bytes`);
}
