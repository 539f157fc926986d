import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import type { Dispatch } from "../dispatch/types.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { JoinedWrites } from "./joined-writes.ts";
import { Outbound } from "./outbound.ts";
import { Requests } from "./requests.ts";
import { wireVersions } from "./versions/wire-version.ts";

function createRequests(dispatch: Dispatch, send: (text: string) => void = () => undefined) {
  const outbound = new Outbound({ bufferedAmount: 0, send, close: () => undefined }, new JoinedWrites(new PassThrough()));
  const ignore = (): void => undefined;
  const requests = new Requests({
    dispatch,
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    principal: secretPrincipal([]),
    checkAuthority: ignore,
    version: wireVersions[4],
    outbound,
    handle: { connId: "c", caps: [], setSessionsSubscription: ignore, setMessagesSubscription: () => true, followRun: ignore },
    pause: ignore,
    resume: ignore,
  });
  return { requests, outbound };
}

const frame = (method: string): string => JSON.stringify({ type: "req", id: "r", method });

test("whoever was closed starts nothing more, although its socket is still open", () => {
  const dispatched: string[] = [];
  const { requests, outbound } = createRequests((_principal, name) => Promise.resolve(dispatched.push(name)));

  requests.receive(frame("health"));
  outbound.close(1008, "enough");
  requests.receive(frame("status"));

  assert.deepEqual(dispatched, ["health"]);
});

test("runs that were accepted do not keep the request that aborts them from being read", () => {
  const dispatched: string[] = [];
  const signals: AbortSignal[] = [];
  const { requests } = createRequests((_principal, name, _params, { accept, signal }) => {
    dispatched.push(name);
    signals.push(signal);
    if (name === "agent") accept?.({ runId: "k", status: "accepted", acceptedAt: 1 });
    return new Promise(() => undefined);
  });

  for (let count = 0; count <= limits.requestsInFlight; count += 1) requests.receive(frame("agent"));
  requests.receive(frame("chat.abort"));
  requests.end();

  assert.equal(dispatched.at(-1), "chat.abort");
  assert.ok(signals.every((signal) => signal.aborted));
});

test("whoever lost its authority gets one last answer, and nothing else is dispatched or answered", async () => {
  const sent: string[] = [];
  const calls = new Map<string, { readonly signal: AbortSignal; readonly resolve: (value: unknown) => void }>();
  const { requests } = createRequests(
    (_principal, name, _params, { signal }) => new Promise((resolve) => calls.set(name, { signal, resolve })),
    (text) => sent.push(text),
  );
  const request = (id: string): void => requests.receive(JSON.stringify({ type: "req", id, method: id }));
  request("beside");
  request("last");

  requests.endAfter(calls.get("last")?.signal ?? AbortSignal.abort(), () => sent.push("closed"));
  request("late");
  calls.get("beside")?.resolve("secret");
  calls.get("last")?.resolve("done");
  await new Promise(setImmediate);

  assert.deepEqual([...calls.keys()], ["beside", "last"]);
  assert.deepEqual([calls.get("beside")?.signal.aborted, calls.get("last")?.signal.aborted], [true, false]);
  assert.deepEqual(sent, [JSON.stringify({ type: "res", id: "last", ok: true, payload: "done" }), "closed"]);
});
