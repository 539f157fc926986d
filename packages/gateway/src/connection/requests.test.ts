import assert from "node:assert/strict";
import test from "node:test";
import { limits } from "@portreeve/protocol";
import type { Dispatch } from "../dispatch/types.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { Outbound } from "./outbound.ts";
import { Requests } from "./requests.ts";
import { wireVersions } from "./versions/wire-version.ts";

function createRequests(dispatch: Dispatch) {
  const outbound = new Outbound({ bufferedAmount: 0, send: () => undefined, close: () => undefined });
  const ignore = (): void => undefined;
  const requests = new Requests({
    dispatch,
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    principal: secretPrincipal([]),
    checkAuthority: ignore,
    version: wireVersions[4],
    outbound,
    handle: { connId: "c", caps: [], setSessionsSubscription: ignore, followRun: ignore },
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
