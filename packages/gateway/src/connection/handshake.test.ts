import assert from "node:assert/strict";
import test from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { type Handshake, type HandshakeInput, type HandshakeOutput, stepHandshake } from "./handshake.ts";

const challenged: Handshake = { state: "challenged", origin: "none" };
const judging: Handshake = { state: "judging", requestId: "r1", version: 4, queued: [] };
const client = { id: "cli", version: "1", platform: "linux", mode: "cli" };

function connectText(params: object = {}, method = "connect"): string {
  return JSON.stringify({ type: "req", id: "r1", method, params: { minProtocol: 4, maxProtocol: 4, client, ...params } });
}

function first(text: string, state: Handshake = challenged): HandshakeOutput | undefined {
  return stepHandshake(state, { kind: "frame", text }).output;
}

/** An output in a few words: the refusal's code and message with the close, or the close alone. */
function summarise(output: HandshakeOutput | undefined): string {
  if (output === undefined) return "nothing";
  if (output.kind === "close") return `close ${output.code} ${output.reason}`.trim();
  if (output.kind === "refuse")
    return `refuse ${output.requestId} v${output.version} ${output.error.code} "${output.error.message}" ${output.closeCode}`;
  return output.kind;
}

const range = (minProtocol: number, maxProtocol: number): object => ({ minProtocol, maxProtocol });
const mismatch = 'refuse r1 v4 PROTOCOL_MISMATCH "protocol mismatch" 1002';

const firstFrames: readonly [name: string, text: string, summary: string][] = [
  ["text that is not JSON", "hello", "close 1000"],
  ["an empty frame", "", "close 1000"],
  ["JSON that is no request", '{"type":"res","id":"r1"}', "close 1008 invalid request frame"],
  ["a JSON array", "[]", "close 1008 invalid request frame"],
  ["another request", connectText({}, "health"), 'refuse r1 v4 INVALID_HANDSHAKE "invalid handshake: first request must be connect" 1008'],
  ["a connect for version 4", connectText(), "authenticate"],
  ["a connect for version 3", connectText(range(3, 3)), "authenticate"],
  ["a connect for versions to come only", connectText(range(5, 6)), mismatch],
  ["a connect for versions that are gone", connectText(range(1, 2)), mismatch],
  ["a range that is upside down", connectText(range(4, 3)), mismatch],
  ["a later version's unknown fields beside a range that ends too late", connectText({ ...range(5, 5), hologram: 1 }), mismatch],
  [
    "an unknown field",
    connectText({ hologram: 1 }),
    "refuse r1 v4 INVALID_HANDSHAKE \"invalid connect params: at root: unexpected property 'hologram'\" 1008",
  ],
  [
    "a provenance field",
    connectText({ inputProvenance: {} }),
    "refuse r1 v4 INVALID_HANDSHAKE \"invalid connect params: at root: unexpected property 'inputProvenance'\" 1008",
  ],
  [
    "no client",
    connectText({ client: undefined }),
    "refuse r1 v4 INVALID_HANDSHAKE \"invalid connect params: at /client: must have required property 'client'\" 1008",
  ],
  [
    "parameters that are no object",
    '{"type":"req","id":"r1","method":"connect","params":7}',
    'refuse r1 v4 INVALID_HANDSHAKE "invalid connect params: at root: must be object" 1008',
  ],
  ["an unknown role", connectText({ role: "admin" }), 'refuse r1 v4 INVALID_HANDSHAKE "invalid role" 1008'],
  ["a worker's role", connectText({ role: "worker" }), "close 1008 invalid-handshake"],
  ["a worker's mode", connectText({ client: { ...client, mode: "worker" } }), "close 1008 invalid-handshake"],
  ["a worker's id", connectText({ client: { ...client, id: "openclaw-worker" } }), "close 1008 invalid-handshake"],
];

for (const [name, text, summary] of firstFrames) {
  test(`${name} as the first frame: ${summary}`, () => {
    assert.equal(summarise(first(text)), summary);
  });
}

const inRange: readonly [min: number, max: number, version: 3 | 4][] = [
  [3, 3, 3],
  [4, 4, 4],
  [3, 4, 4],
  [1, 3, 3],
  [1, 99, 4],
];

for (const [min, max, version] of inRange) {
  test(`a client of protocols ${min} to ${max} gets version ${version}`, () => {
    const { next } = stepHandshake(challenged, { kind: "frame", text: connectText(range(min, max)) });

    assert.deepEqual(next, { state: "judging", requestId: "r1", version, queued: [] });
  });
}

test("a protocol mismatch says what both sides speak", () => {
  const output = first(connectText(range(5, 6)));

  assert.deepEqual(output?.kind === "refuse" && output.error.details, {
    clientMinProtocol: 5,
    clientMaxProtocol: 6,
    expectedProtocol: 4,
    minimumProbeProtocol: 3,
  });
});

test("a page of a foreign origin is refused after its connect, so that it can read why", () => {
  const output = first(connectText(), { state: "challenged", origin: "foreign" });

  assert.match(summarise(output), /^refuse r1 v4 CONTROL_UI_ORIGIN_NOT_ALLOWED "origin not allowed \(open the Control UI .*\)" 1008$/);
});

test("a page of an allowed origin is judged like anybody", () => {
  assert.equal(summarise(first(connectText(), { state: "challenged", origin: "allowed" })), "authenticate");
});

test("frames that come before the answer wait in order, and no more than fifteen of them", () => {
  const texts = Array.from({ length: 15 }, (_, index) => `frame ${index}`);

  const full = texts.reduce<Handshake>((state, text) => stepHandshake(state, { kind: "frame", text }).next, judging);

  assert.deepEqual(stepHandshake(full, { kind: "admitted" }).output, { kind: "welcome", requestId: "r1", version: 4, queued: texts });
  assert.equal(summarise(stepHandshake(full, { kind: "frame", text: "one more" }).output), "close 1008 too many pending handshake frames");
});

const error = new ProtocolError("PAIRING_REQUIRED", "pairing required: device is not approved yet");
const inputs = {
  frame: { kind: "frame", text: connectText() },
  timeout: { kind: "timeout" },
  oversized: { kind: "oversized" },
  admitted: { kind: "admitted" },
  refused: { kind: "refused", error },
  gone: { kind: "gone" },
} satisfies { [K in HandshakeInput["kind"]]: Extract<HandshakeInput, { kind: K }> };
const states = { challenged, judging, open: { state: "open" }, closed: { state: "closed" } } satisfies {
  [S in Handshake["state"]]: Extract<Handshake, { state: S }>;
};

const refusal = `refuse r1 v4 PAIRING_REQUIRED "${error.message}" 1008`;
const transitions: {
  readonly [S in Handshake["state"]]: { readonly [K in HandshakeInput["kind"]]: readonly [Handshake["state"], string] };
} = {
  challenged: {
    frame: ["judging", "authenticate"],
    timeout: ["closed", "close 1000"],
    oversized: ["closed", "close 1009 preauth payload too large"],
    admitted: ["challenged", "nothing"],
    refused: ["challenged", "nothing"],
    gone: ["closed", "nothing"],
  },
  judging: {
    frame: ["judging", "nothing"],
    timeout: ["closed", "close 1000"],
    oversized: ["closed", "close 1009 preauth payload too large"],
    admitted: ["open", "welcome"],
    refused: ["closed", refusal],
    gone: ["closed", "nothing"],
  },
  open: {
    frame: ["open", "nothing"],
    timeout: ["open", "nothing"],
    oversized: ["open", "nothing"],
    admitted: ["open", "nothing"],
    refused: ["open", "nothing"],
    gone: ["closed", "nothing"],
  },
  closed: {
    frame: ["closed", "nothing"],
    timeout: ["closed", "nothing"],
    oversized: ["closed", "nothing"],
    admitted: ["closed", "nothing"],
    refused: ["closed", "nothing"],
    gone: ["closed", "nothing"],
  },
};

for (const state of Object.values(states)) {
  for (const input of Object.values(inputs)) {
    const expected = transitions[state.state][input.kind];
    test(`a handshake that is ${state.state}, told "${input.kind}", is ${expected[0]} and does: ${expected[1]}`, () => {
      const { next, output } = stepHandshake(state, input);

      assert.deepEqual([next.state, summarise(output)], expected);
    });
  }
}
