import assert from "node:assert/strict";
import test from "node:test";
import { secretPrincipal } from "../principal/principal.ts";
import { Outbound } from "./outbound.ts";
import { Requests } from "./requests.ts";
import { wireVersions } from "./versions/wire-version.ts";

test("whoever was closed starts nothing more, although its socket is still open", () => {
  const dispatched: string[] = [];
  const outbound = new Outbound({ bufferedAmount: 0, send: () => undefined, close: () => undefined });
  const ignore = (): void => undefined;
  const requests = new Requests({
    dispatch: (_principal, name) => Promise.resolve(dispatched.push(name)),
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    principal: secretPrincipal([]),
    version: wireVersions[4],
    outbound,
    handle: { connId: "c", caps: [], setSessionsSubscription: ignore, followRun: ignore },
    pause: ignore,
    resume: ignore,
  });
  const frame = (method: string): string => JSON.stringify({ type: "req", id: "r", method });

  requests.receive(frame("health"));
  outbound.close(1008, "enough");
  requests.receive(frame("status"));

  assert.deepEqual(dispatched, ["health"]);
});
