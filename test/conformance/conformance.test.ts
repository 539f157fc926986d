/** Every transcript against a gateway in this process, in both versions; together they show every method at work. */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { eventDefinitions, type MethodDefinition, methods } from "@portreeve/protocol";
import differences from "./differences.json" with { type: "json" };
import { startGateway } from "../support/start-gateway.ts";
import { connectWire, createWireKey, type Frame } from "../support/wire-client.ts";
import { fill, mismatches } from "./matching.ts";
import { type Heard, play } from "./player.ts";
import { findProblems, listJudged, rows } from "./their-schema.ts";
import { type Protocol, readTranscripts } from "./transcript.ts";

const gw = await startGateway();
after(() => gw[Symbol.asyncDispose]());
const transcripts = await readTranscripts();
const definitions: readonly (readonly [name: string, definition: MethodDefinition])[] = Object.entries(methods);
const heard: Readonly<Record<Protocol, Heard[]>> = { 3: [], 4: [] };

for (const transcript of transcripts) {
  for (const protocol of transcript.protocols) {
    test(`${transcript.name}, protocol ${protocol}: ${transcript.about}`, async () => {
      const came = await play(transcript, { url: gw.url, token: gw.token, protocol });

      heard[protocol].push(...came);
      if (protocol === 4) assert.deepEqual(findProblems(came), []);
    });
  }
}

for (const protocol of [3, 4] as const) {
  test(`every method that a socket may call succeeds in some transcript of protocol ${protocol}`, () => {
    const shown = new Set(heard[protocol].filter(({ kind }) => kind === "result").map(({ name }) => name));
    const missing = definitions
      .filter(
        ([name, { callers, versions }]) =>
          name !== "connect" && callers.join() !== "run" && versions.includes(protocol) && !shown.has(name),
      )
      .map(([name]) => name);

    assert.deepEqual(missing, []);
  });

  test(`whatever is asked without its scope, by the wrong role or with a strange field is refused as protocol ${protocol} says it`, async () => {
    const connect = (input: object) => connectWire(gw.url, { key: createWireKey(), token: gw.token, protocol, ...input });
    await using bare = await connect({ scopes: [] });
    await using admin = await connect({ scopes: ["operator.admin"] });
    await using node = await connect({ role: "node", client: { id: "node-host", mode: "node" } });
    const asked = definitions.filter(([name, { versions }]) => name !== "connect" && versions.includes(protocol));
    const wrong: unknown[] = [];

    for (const [name, definition] of asked) {
      const isOperators = definition.callers.includes("operator");
      const refusals = [
        [await bare.request(name, {}), bareAnswer(definition, protocol)],
        [
          await (isOperators || !definition.callers.includes("node") ? admin : node).request(name, { "no such field": 1 }),
          strangeAnswer(name, definition),
        ],
      ] as const;
      for (const [{ error, ok }, pattern] of refusals)
        if (pattern !== undefined && (ok !== false || mismatches(pattern, error).length > 0))
          wrong.push([name, error ?? "succeeded", pattern]);
    }

    assert.deepEqual(wrong, []);
  });
}

test("every definition that our map names has judged something", () => {
  const judged = listJudged(heard[4]);
  const idle = [
    ...Object.entries(rows.methods).flatMap(([name, { result }]) => (result === null ? [] : [name])),
    ...Object.entries(rows.events).flatMap(([name, { payload }]) =>
      payload === null || Object.hasOwn(differences.unheard, name) ? [] : [name],
    ),
  ].filter((name) => !judged.has(name));

  assert.deepEqual(idle, []);
});

test("a result that is not what its definition says is found, also in a part of it", () => {
  const problems = findProblems([
    { kind: "result", name: "agents.list", payload: { defaultId: "main", mainKey: "main", scope: "somewhere", agents: [] } },
    {
      kind: "result",
      name: "sessions.list",
      payload: {
        sessions: [
          { key: "a", kind: "direct" },
          { key: 1, kind: "direct" },
        ],
      },
    },
    { kind: "event", name: "chat", payload: { runId: "r", sessionKey: "s", seq: 1, state: "delta" } },
  ]).join("\n");

  for (const place of ["agents.list is no AgentsListResult", "sessions.* is no SessionRow: /key", "event chat is no ChatEvent"])
    assert.ok(problems.includes(place), `${place} in ${problems}`);
});

test("patterns say what does not fit, and where", () => {
  const value = { a: [1, { b: "text" }], n: null };
  const fitting = [
    value,
    {},
    { a: [{ $type: "integer" }, { b: { $like: "^te" } }] },
    { a: { $some: { b: "text" } }, n: null },
    { c: { $absent: true } },
    { $keys: ["n", "a"] },
  ];
  const others = [
    { a: [1] },
    { a: [2, {}] },
    { b: 1 },
    { a: { $some: 3 } },
    { n: { $absent: true } },
    { $keys: ["a"] },
    { n: { $type: "object" } },
    { a: { $not: { $type: "array" } } },
    { $what: 1 },
  ];

  assert.deepEqual(
    fitting.filter((pattern) => mismatches(pattern, value).length > 0),
    [],
  );
  assert.deepEqual(
    others.filter((pattern) => mismatches(pattern, value).length === 0),
    [],
  );
  assert.deepEqual(mismatches({ a: [1, { b: "other" }] }, value), ['payload.a.1.b: expected "other", got "text"']);
  assert.deepEqual(
    fill(
      { x: "${one}", y: ["${one}-${two}"] },
      new Map<string, unknown>([
        ["one", 1],
        ["two", "b"],
      ]),
    ),
    { x: 1, y: ["1-b"] },
  );
  assert.throws(() => fill("${gone}", new Map()), /nothing was saved as gone/);
});

test("an event that is no event of ours has no row", () => {
  assert.deepEqual(
    heard[4].filter(({ kind, name }) => kind === "event" && !Object.hasOwn(eventDefinitions, name)),
    [],
  );
});

/** What a connection without scopes hears; undefined where it may ask. */
function bareAnswer({ callers, scope }: MethodDefinition, protocol: Protocol): object | undefined {
  if (!callers.includes("operator")) return { code: "INVALID_REQUEST", message: "unauthorized role: operator" };
  if (scope === "none") return undefined;
  const needed = typeof scope === "string" ? scope : scope.malformed;
  const message = `missing scope: ${needed}`;
  return protocol === 3
    ? { $keys: ["code", "message"], code: "INVALID_REQUEST", message }
    : { code: "FORBIDDEN", message, details: { code: "MISSING_SCOPE", missingScope: needed } };
}

/** Undefined for a method that takes whatever clients send it. */
function strangeAnswer(name: string, { callers, params }: MethodDefinition): Frame["error"] | object | undefined {
  if (callers.join() === "run") return { code: "INVALID_REQUEST", message: "unauthorized role: operator" };
  if (params.safeParse({}).success && params.safeParse({ "no such field": 1 }).success) return undefined;
  return { code: "INVALID_REQUEST", message: { $like: `^invalid ${name.replaceAll(".", "\\.")} params: ` } };
}
