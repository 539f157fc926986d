/**
 * The handshake's machine, alone and with the pairing policy behind it, under random sequences of damaged connects, timeouts,
 * verdicts and ends. `PORTREEVE_FUZZ=long` takes ten times the cases, `PORTREEVE_FUZZ_SEED` a printed seed.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { coversAll, limits, normaliseScopes, ProtocolError, scopeNames } from "@portreeve/protocol";
import fc from "fast-check";
import {
  type Handshake,
  type HandshakeInput,
  type HandshakeOutput,
  stepHandshake,
} from "../../packages/gateway/src/connection/handshake.ts";
import { decide, type GrantFacts } from "../../packages/gateway/src/identity/grant.ts";
import { connectText, fuzzPlan, mutate, mutation, type Mutation, textChange } from "./connect-mutations.ts";

const scopeSet = fc.subarray([...scopeNames, "operator.bogus"]).map((scopes) => [...scopes]);
const client = { id: "test", mode: "test", version: "1", platform: "linux" };
const damage: fc.Arbitrary<readonly Mutation[]> = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 3, arbitrary: fc.array(mutation, { minLength: 1, maxLength: 3 }) },
);
const connectFrame = fc
  .record({
    scopes: scopeSet,
    role: fc.constantFrom("operator", "operator", "node", undefined),
    range: fc.constantFrom([4, 4], [3, 3], [3, 4], [1, 2], [5, 9], [4, 3]),
    mutations: damage,
    change: textChange,
  })
  .map(({ scopes, role, range: [minProtocol, maxProtocol], mutations, change }) => {
    const whole = { minProtocol, maxProtocol, client, scopes, role, auth: { token: "t" } };
    return connectText(
      mutations.reduce((params: object, one) => mutate(params, one), whole),
      change,
    );
  });

const wholeConnect = connectText({ minProtocol: 3, maxProtocol: 4, client }, "none");

// Made once and drawn from: making them takes longer than running them.
const plan = fuzzPlan(100_000);
const texts = fc.sample(connectFrame, { numRuns: 10_000, seed: plan.seed });
const text = fc.nat(texts.length - 1).map((index) => texts[index] ?? "");

const error = new ProtocolError("PAIRING_REQUIRED", "pairing required");
const input: fc.Arbitrary<HandshakeInput> = fc.oneof(
  { weight: 5, arbitrary: text.map((one) => ({ kind: "frame" as const, text: one })) },
  { weight: 1, arbitrary: fc.string().map((noise) => ({ kind: "frame" as const, text: noise })) },
  { weight: 2, arbitrary: fc.constant({ kind: "admitted" as const }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<HandshakeInput>({ kind: "refused", error }, { kind: "timeout" }, { kind: "oversized" }, { kind: "gone" }),
  },
);
/** A right connect, and more frames behind it than may wait. */
const flood: fc.Arbitrary<readonly HandshakeInput[]> = fc
  .array(text, { minLength: limits.pendingHandshakeFrames - 1, maxLength: limits.pendingHandshakeFrames + 2, size: "max" })
  .map((behind) => [wholeConnect, ...behind].map((one) => ({ kind: "frame" as const, text: one })));
const inputs: fc.Arbitrary<readonly HandshakeInput[]> = fc.oneof(
  { weight: 20, arbitrary: fc.array(input, { minLength: 1, maxLength: 20, size: "max" }) },
  { weight: 1, arbitrary: flood },
);
const origin = fc.constantFrom("none" as const, "none" as const, "allowed" as const, "foreign" as const);

/** Runs the inputs and holds what must hold at every step; answers the outputs. */
function runMachine(start: Handshake, inputs: readonly HandshakeInput[]): readonly HandshakeOutput[] {
  let state = start;
  const outputs: HandshakeOutput[] = [];
  for (const one of inputs) {
    const before = state.state;
    const { next, output } = stepHandshake(state, one);
    state = next;
    if (output !== undefined) {
      assert.ok(before === "challenged" || before === "judging", `${output.kind} after ${before}`);
      outputs.push(output);
    }
    if (before === "closed") assert.equal(state.state, "closed");
    if (before === "open") assert.ok(state.state === "open" || one.kind === "gone");
    if (state.state === "judging") assert.ok(state.queued.length <= limits.pendingHandshakeFrames);
  }
  const { next } = stepHandshake(state, { kind: "timeout" });
  assert.ok(next.state === "open" || next.state === "closed", `${next.state} after the timeout`);
  const count = (kind: HandshakeOutput["kind"]): number => outputs.filter((output) => output.kind === kind).length;
  assert.ok(count("authenticate") <= 1 && count("welcome") <= count("authenticate"));
  assert.ok(count("welcome") + count("refuse") + count("close") <= 1, outputs.map((output) => output.kind).join());
  return outputs;
}

test("no sequence of frames, verdicts, timeouts and ends breaks the machine: 100,000 of them", (t) => {
  t.diagnostic(`seed ${plan.seed}`);
  const seen = new Map<string, number>();

  fc.assert(
    fc.property(origin, inputs, (from, arriving) => {
      for (const { kind } of runMachine({ state: "challenged", origin: from }, arriving)) seen.set(kind, (seen.get(kind) ?? 0) + 1);
    }),
    plan,
  );

  // A run that never gets in would hold everything above without having tried it.
  for (const kind of ["authenticate", "welcome", "refuse", "close"]) assert.ok((seen.get(kind) ?? 0) > plan.numRuns / 100, kind);
});

/** What a model of the store knows of one device. */
interface Standing {
  readonly ceiling: readonly string[] | undefined;
  readonly asked: readonly string[] | undefined;
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("connect" as const),
      device: fc.nat(3),
      text,
      origin,
      isLocal: fc.boolean(),
      secret: fc.constantFrom("right" as const, "right" as const, "wrong" as const, "absent" as const),
      token: fc.constantFrom("right" as const, "wrong" as const, "absent" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("approve" as const), device: fc.nat(3), held: scopeSet }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** One connection through machine and policy; answers what the store holds of the device afterwards. */
function connectOnce(standing: Standing, ask: Extract<Step, { kind: "connect" }>): Standing {
  const { next, output } = stepHandshake({ state: "challenged", origin: ask.origin }, { kind: "frame", text: ask.text });
  if (output?.kind !== "authenticate") return standing;
  assert.notEqual(ask.origin, "foreign");
  const scopes = output.connect.scopes ?? [];
  const isKnown = standing.ceiling !== undefined && output.role === "operator";
  const facts: GrantFacts = {
    subject: "device",
    method: "token",
    ask: { role: output.role, scopes },
    peer: { directLoopback: ask.isLocal, hasOrigin: ask.origin !== "none" },
    secret: ask.secret,
    token: isKnown ? ask.token : ask.token === "right" ? "wrong" : ask.token,
    offersDeviceToken: false,
    standing:
      standing.ceiling === undefined
        ? { kind: "unknown", refused: false, hasPending: standing.asked !== undefined }
        : {
            kind: "paired",
            ceiling: isKnown ? standing.ceiling : undefined,
            tokenScopes: isKnown ? standing.ceiling : [],
            metadataChanged: false,
          },
    autoApproveLocal: true,
  };
  const decision = decide(facts);
  const verdict: HandshakeInput =
    decision.kind === "admit" || decision.kind === "approve-silently" ? { kind: "admitted" } : { kind: "refused", error };
  assert.equal(stepHandshake(next, verdict).next.state, verdict.kind === "admitted" ? "open" : "closed");
  switch (decision.kind) {
    case "admit":
      assert.ok(ask.secret === "right" || ask.token === "right");
      assert.ok(standing.ceiling !== undefined && coversAll(standing.ceiling, decision.scopes));
      assert.deepEqual(decision.scopes, normaliseScopes(scopes));
      return standing;
    case "approve-silently":
      assert.ok(ask.secret === "right" && ask.isLocal && standing.ceiling === undefined && standing.asked === undefined);
      return output.role === "operator" ? { ceiling: decision.scopes, asked: undefined } : standing;
    case "pend":
      assert.ok(ask.secret === "right" || ask.token === "right");
      return output.role === "operator" ? { ...standing, asked: [...(standing.asked ?? []), ...scopes] } : standing;
    case "refuse":
      return standing;
  }
}

test("with the policy behind it, no stored scope is raised but by its first local pairing or whoever holds it: 100,000 connects", (t) => {
  t.diagnostic(`seed ${plan.seed}`);
  const raised = { silently: 0, byApproval: 0 };

  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8, size: "max" }), (steps) => {
      const devices = new Map<number, Standing>();
      for (const one of steps) {
        const before = devices.get(one.device) ?? { ceiling: undefined, asked: undefined };
        const after = one.kind === "connect" ? connectOnce(before, one) : approveOnce(before, one.held);
        devices.set(one.device, after);
        if (coversAll(before.ceiling ?? [], after.ceiling ?? [])) continue;
        if (one.kind === "approve") {
          raised.byApproval += 1;
          assert.ok(coversAll(one.held, after.ceiling ?? []));
        } else {
          raised.silently += 1;
          assert.equal(before.ceiling, undefined);
        }
      }
    }),
    // Sequences of four connects on average.
    { ...plan, numRuns: plan.numRuns / 4 },
  );

  assert.ok(raised.silently > 1_000 && raised.byApproval > 100, JSON.stringify(raised));
});

function approveOnce(standing: Standing, held: readonly string[]): Standing {
  const granted = [...(standing.asked ?? []), ...(standing.ceiling ?? [])];
  if (standing.asked === undefined || !coversAll(held, granted)) return standing;
  return { ceiling: normaliseScopes(granted), asked: undefined };
}
