import assert from "node:assert/strict";
import test from "node:test";
import { type AgentEvent, type EventName, eventDefinitions, type Message, type SessionRow } from "@portreeve/protocol";
import { Bus } from "../bus.ts";
import { mayHear } from "../principal/hearing.ts";
import { devicePrincipal, type Principal, secretPrincipal } from "../principal/principal.ts";
import type { OutgoingEvent } from "./outbound.ts";
import { type Hearer, Subscriptions, type SubscriptionsDeps } from "./subscriptions.ts";
import { wireVersions } from "./versions/wire-version.ts";

interface TestHearer extends Hearer {
  readonly heard: OutgoingEvent[];
}

function hearer(options: Partial<Hearer> & { readonly followed?: readonly string[] } = {}): TestHearer {
  const { followed = [], ...over } = options;
  const heard: OutgoingEvent[] = [];
  return {
    principal: secretPrincipal(["operator.read"]),
    version: wireVersions[4],
    caps: [],
    hearsSessions: false,
    hearsMessages: () => false,
    follows: (wireId) => followed.includes(wireId),
    sendEvent: (event) => void heard.push(event),
    heard,
    ...over,
  };
}

function open(
  rowOf: (key: string) => Promise<SessionRow | undefined> = () => Promise.resolve(undefined),
  messagesOf: SubscriptionsDeps["messagesOf"] = () => Promise.resolve([]),
): {
  bus: Bus;
  subscriptions: Subscriptions;
  errors: string[];
} {
  const errors: string[] = [];
  const log = {
    debug: () => undefined,
    info: () => undefined,
    warn: () => undefined,
    error: (_facts: object, message: string) => void errors.push(message),
  };
  const clock = { now: () => 7, schedule: () => ({ [Symbol.dispose]: () => undefined }) };
  const bus = new Bus();
  return { bus, errors, subscriptions: new Subscriptions({ bus, clock, log, rowOf, messagesOf }) };
}

const namesOf = (heard: readonly OutgoingEvent[]): readonly string[] => heard.map(({ name }) => name);
const run = { runId: "run-1", sessionKey: "agent:main:main", agentId: "main", seq: 1, ts: 1 };
const toolEvent: AgentEvent = { ...run, stream: "tool", data: { phase: "start", name: "ls", toolCallId: "c", args: {} } };
const textEvent: AgentEvent = { ...run, stream: "assistant", data: { text: "hi", delta: "hi" } };
const chatEnd = { runId: "run-1", sessionKey: "agent:main:main", agentId: "main", seq: 2, state: "final" } as const;

const pairing: readonly EventName[] = [
  "device.pair.requested",
  "device.pair.resolved",
  "device.pair.changed",
  "device.pair.setup.completed",
  "device.pair.setup.deliveryUncertain",
  "node.pair.requested",
  "node.pair.resolved",
];
const toOneNode: readonly EventName[] = ["node.invoke.request", "node.invoke.cancel"];
const everyone: readonly EventName[] = ["connect.challenge", "tick", "shutdown", "health"];
const reading: readonly EventName[] = ["agent", "chat", "session.message", "sessions.changed", "presence", "cron"];
const audiences: readonly [name: string, principal: Principal | undefined, hears: readonly EventName[]][] = [
  ["a connection before its hello", undefined, []],
  ["a connection without scopes", secretPrincipal([]), everyone],
  ["a reader", secretPrincipal(["operator.read"]), [...everyone, ...reading]],
  ["a writer", secretPrincipal(["operator.write"]), [...everyone, ...reading]],
  ["one for pairing", secretPrincipal(["operator.pairing"]), [...everyone, ...pairing]],
  ["one for approvals", secretPrincipal(["operator.approvals"]), [...everyone, "exec.approval.requested", "exec.approval.resolved"]],
  // The table's own keys.
  [
    "an admin",
    secretPrincipal(["operator.admin"]),
    (Object.keys(eventDefinitions) as EventName[]).filter((name) => !toOneNode.includes(name)),
  ],
  ["one who calls a scope what it is not", secretPrincipal(["addressee"]), everyone],
  ["a node, whatever scopes it was given", devicePrincipal({ deviceId: "d", role: "node", scopes: ["operator.admin"] }), everyone],
];

for (const [name, principal, hears] of audiences) {
  test(`${name} may hear ${hears.length === 0 ? "nothing" : hears.join(", ")}`, () => {
    const all = Object.keys(eventDefinitions) as EventName[]; // The table's own keys.

    assert.deepEqual(all.filter((event) => mayHear(principal, event)).sort(), [...hears].sort());
  });
}

test("what tools do goes to whoever follows the run and declared the capability, text to every reader", () => {
  const { bus, subscriptions } = open();
  const both = hearer({ caps: ["tool-events"], followed: ["run-1"] });
  const others = [
    hearer({ caps: ["tool-events"] }),
    hearer({ followed: ["run-1"] }),
    hearer({ caps: ["tool-events"], followed: ["run-2"] }),
  ];
  for (const one of [both, ...others]) subscriptions.add(one);

  bus.publish("agent", toolEvent);
  bus.publish("agent", textEvent);

  assert.deepEqual(
    [both, ...others].map(({ heard }) => heard.length),
    [2, 1, 1, 1],
  );
});

test("following a run and asking for tool events opens nothing without the scope", () => {
  const { bus, subscriptions } = open();
  const scopeless = hearer({ principal: secretPrincipal([]), caps: ["tool-events"], followed: ["run-1"], hearsSessions: true });
  subscriptions.add(scopeless);

  bus.publish("agent", toolEvent);
  bus.publish("agent", textEvent);
  bus.publish("chat", chatEnd);

  assert.deepEqual(scopeless.heard, []);
});

test("the end of a reply is not skipped for a slow reader, its deltas are", () => {
  const { bus, subscriptions } = open();
  const reader = hearer();
  subscriptions.add(reader);

  bus.publish("chat", { ...chatEnd, state: "delta", deltaText: "a", message: { role: "assistant", content: [], timestamp: 1 } });
  bus.publish("chat", chatEnd);

  assert.deepEqual(
    reader.heard.map(({ droppable }) => droppable),
    [true, false],
  );
});

test("every hearer gets an event in its own version", () => {
  const { bus, subscriptions } = open();
  const [old, current] = [hearer({ version: wireVersions[3] }), hearer()];
  subscriptions.add(old);
  subscriptions.add(current);

  bus.publish("chat", chatEnd);

  assert.deepEqual(
    [old, current].map(({ heard }) => Object.hasOwn(JSON.parse(heard[0]?.payloadJson ?? "{}"), "agentId")),
    [false, true],
  );
});

test("session changes go to subscribers, with the session as it is, in their order", async () => {
  const slowFirst = Promise.withResolvers<void>();
  let lookups = 0;
  const { bus, subscriptions } = open(async (key) => {
    lookups += 1;
    if (lookups === 1) await slowFirst.promise;
    return { key, agentId: "main" } as unknown as SessionRow; // No field is looked at but these.
  });
  const told = Promise.withResolvers<void>();
  const heard: string[] = [];
  const subscriber = hearer({
    hearsSessions: true,
    sendEvent: ({ payloadJson }) => void (heard.push(payloadJson) === 2 && told.resolve()),
  });
  const other = hearer();
  subscriptions.add(subscriber);
  subscriptions.add(other);

  bus.publish("sessions.changed", { sessionKey: "agent:main:a", reason: "create" });
  bus.publish("sessions.changed", { sessionKey: "agent:main:b", reason: "send", runId: "r" });
  slowFirst.resolve();
  await told.promise;

  assert.deepEqual(
    heard.map((text) => JSON.parse(text)),
    [
      { sessionKey: "agent:main:a", agentId: "main", reason: "create", ts: 7, session: { key: "agent:main:a", agentId: "main" } },
      { sessionKey: "agent:main:b", agentId: "main", reason: "send", ts: 7, runId: "r", session: { key: "agent:main:b", agentId: "main" } },
    ],
  );
  assert.deepEqual(other.heard, []);
});

test("a failed look-up is logged and the next change is told all the same", async () => {
  const told = Promise.withResolvers<string>();
  const { bus, subscriptions, errors } = open((key) => (key.endsWith("a") ? Promise.reject(new Error("no")) : Promise.resolve(undefined)));
  subscriptions.add(hearer({ hearsSessions: true, sendEvent: ({ payloadJson }) => told.resolve(payloadJson) }));

  bus.publish("sessions.changed", { sessionKey: "agent:main:a", reason: "patch" });
  bus.publish("sessions.changed", { sessionKey: "agent:main:b", reason: "delete" });

  assert.deepEqual(JSON.parse(await told.promise), { sessionKey: "agent:main:b", agentId: "main", reason: "delete", ts: 7 });
  assert.deepEqual(errors, ["background task failed"]);
});

test("without a subscriber no session is looked up", () => {
  const asked: string[] = [];
  const { bus, subscriptions } = open((key) => {
    asked.push(key);
    return Promise.resolve(undefined);
  });
  subscriptions.add(hearer());

  bus.publish("sessions.changed", { sessionKey: "agent:main:a", reason: "create" });

  assert.deepEqual(asked, []);
});

test("whoever left hears nothing, and after the end nobody does", () => {
  const { bus, subscriptions } = open();
  const [gone, stays] = [hearer(), hearer()];
  subscriptions.add(gone);
  subscriptions.add(stays);
  subscriptions.remove(gone);

  bus.publish("chat", chatEnd);
  subscriptions[Symbol.dispose]();
  bus.publish("chat", chatEnd);

  assert.deepEqual([namesOf(gone.heard), namesOf(stays.heard)], [[], ["chat"]]);
});

const said = (seq: number): Message => ({
  role: "user",
  content: [{ type: "text", text: `message ${seq}` }],
  timestamp: 1,
  __openclaw: { id: `msg_${seq}`, seq },
});

test("messages go to whoever listens to their session or to all, to nobody without the scope, and no more than fifty of one addition", async () => {
  const key = "agent:main:a";
  const session = { key, agentId: "main" } as unknown as SessionRow; // No field is looked at but these.
  const asked: object[] = [];
  const { bus, subscriptions } = open(
    () => Promise.resolve(session),
    (_key, range) => {
      asked.push(range);
      return Promise.resolve([said(range.throughSeq - 1), said(range.throughSeq)]);
    },
  );
  const told = Promise.withResolvers<void>();
  const [all, one, elsewhere] = [
    hearer({ hearsSessions: true }),
    hearer({ hearsMessages: (name) => name === key }),
    hearer({ hearsMessages: (name) => name === "agent:main:b" }),
  ];
  const blind = hearer({ hearsSessions: true, principal: secretPrincipal([]) });
  const last = hearer({ hearsMessages: () => true, version: wireVersions[3], sendEvent: () => told.resolve() });
  for (const each of [all, one, elsewhere, blind, last]) subscriptions.add(each);

  bus.publish("appended", { sessionKey: key, fromSeq: 1, throughSeq: 200 });
  await told.promise;

  assert.deepEqual(asked, [{ fromSeq: 151, throughSeq: 200 }]);
  assert.deepEqual(
    [all, one, elsewhere, blind].map(({ heard }) => heard.map(({ payloadJson }) => JSON.parse(payloadJson).messageSeq)),
    [[199, 200], [199, 200], [], []],
  );
  assert.deepEqual(JSON.parse(one.heard[0]?.payloadJson ?? ""), {
    sessionKey: key,
    agentId: "main",
    message: said(199),
    messageId: "msg_199",
    messageSeq: 199,
    session: { key, agentId: "main" },
  });
});

test("nothing is read of a session that nobody listens to, and nothing is told of one that is gone by then", async () => {
  const asked: string[] = [];
  const { bus, subscriptions } = open(
    (key) => Promise.resolve(key.endsWith("gone") ? undefined : ({ key, agentId: "main" } as unknown as SessionRow)),
    (key) => {
      asked.push(key);
      return Promise.resolve([said(1)]);
    },
  );
  const told = Promise.withResolvers<string>();
  subscriptions.add(hearer({ hearsMessages: (key) => !key.endsWith("b"), sendEvent: ({ payloadJson }) => told.resolve(payloadJson) }));

  for (const key of ["agent:main:b", "agent:main:gone", "agent:main:a"])
    bus.publish("appended", { sessionKey: key, fromSeq: 1, throughSeq: 1 });

  assert.equal(JSON.parse(await told.promise).sessionKey, "agent:main:a");
  assert.deepEqual(asked, ["agent:main:gone", "agent:main:a"]);
});
