import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import test from "node:test";
import { Bus } from "../bus.ts";
import { createIds } from "../kit/ids.ts";
import { Secret } from "../kit/secret.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { openStoreFile } from "../store/sqlite.ts";
import { createAttempts } from "./attempts.ts";
import { createCredentials } from "./credentials.ts";
import { createSetupCodes } from "./setup-codes.ts";

const nowMs = 1_795_435_000_000;
const credentials = createCredentials({ secret: new Secret("s"), tokenKey: createSecretKey(Buffer.alloc(32)), gatewayId: "g" });
const ignore = (): void => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const clock = { now: () => nowMs, schedule: () => ({ [Symbol.dispose]: ignore }) };
const ask = { role: "operator", scopes: undefined, minutes: undefined, url: "ws://127.0.0.1:1" } as const;

test("a code never grants more than its issuer holds, and an empty ask grants nothing", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const codes = createSetupCodes({
    store: store.setupCodes,
    attempts: createAttempts({ store: store.attempts, clock }),
    credentials,
    clock,
    log,
    bus: new Bus(),
  });
  const reader = secretPrincipal(["operator.read"]);

  const asked = await codes.issue({ ...ask, scopes: ["operator.admin", "operator.read"] }, reader);
  const silent = await codes.issue(ask, reader);
  const empty = await codes.issue({ ...ask, scopes: [] }, secretPrincipal(["operator.admin"]));

  assert.deepEqual([asked.scopes, silent.scopes, empty.scopes], [["operator.read"], ["operator.read"], []]);
});

test("a code ends after ten minutes, or sooner when told so", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const codes = createSetupCodes({
    store: store.setupCodes,
    attempts: createAttempts({ store: store.attempts, clock }),
    credentials,
    clock,
    log,
    bus: new Bus(),
  });
  const admin = secretPrincipal(["operator.admin"]);

  const issued = [
    await codes.issue(ask, admin),
    await codes.issue({ ...ask, minutes: 2 }, admin),
    await codes.issue({ ...ask, minutes: 60 }, admin),
  ];

  assert.deepEqual(
    issued.map(({ expiresAtMs }) => expiresAtMs - nowMs),
    [600_000, 120_000, 600_000],
  );
});
