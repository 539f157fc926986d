/** One gateway after another on the same store, each with the settings of its time, on a machine whose clock can be set. */
import { createSecretKey } from "node:crypto";
import { Bus } from "../../packages/gateway/src/bus.ts";
import { createAttempts } from "../../packages/gateway/src/identity/attempts.ts";
import { createCredentials } from "../../packages/gateway/src/identity/credentials.ts";
import { createDeviceManager, type DeviceManager } from "../../packages/gateway/src/identity/device-management.ts";
import { createPairing, type Pairing } from "../../packages/gateway/src/identity/pairing.ts";
import { createSetupCodes, type SetupCodes } from "../../packages/gateway/src/identity/setup-codes.ts";
import { createAuthorityClock } from "../../packages/gateway/src/kit/authority-clock.ts";
import type { Clock, SteadyClock } from "../../packages/gateway/src/kit/clock.ts";
import { Secret } from "../../packages/gateway/src/kit/secret.ts";
import type { Store } from "../../packages/gateway/src/store/store.ts";
import { firstSettings, type Settings } from "./actions.ts";

export const secret = "the-secret";
const tokenKey = createSecretKey(Buffer.alloc(32, 7));
const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore };

export class StoreLife {
  readonly #store: Store;
  #nowMs = 1_795_435_000_000;
  #elapsedMs = 0;
  /** A refusal that is held back comes at once: time stands still here. */
  readonly machine: SteadyClock = {
    now: () => this.#nowMs,
    elapsedMs: () => this.#elapsedMs,
    schedule: (_atMs, task) => (queueMicrotask(task), { [Symbol.dispose]: ignore }),
  };
  /** By which authority ends. */
  clock: Clock = createAuthorityClock(this.machine, 0);
  settings = firstSettings;
  identity: Identity;

  constructor(store: Store) {
    this.#store = store;
    this.identity = this.#open();
  }

  async reopen(settings: Settings): Promise<void> {
    this.settings = settings;
    this.clock = createAuthorityClock(this.machine, await this.#store.devices.newestTimeMs());
    this.identity = this.#open();
    await this.#sweep();
  }

  /** The clock moves by `ms`, while `passedMs` pass. */
  async move(ms: number, passedMs: number): Promise<void> {
    this.#nowMs += ms;
    this.#elapsedMs += passedMs;
    await this.#sweep();
  }

  /** What timers do meanwhile, and at the latest by then. */
  async #sweep(): Promise<void> {
    await this.#store.devices.sweepExpiries(this.clock.now());
  }

  #open(): Identity {
    return openIdentity(this.#store, { clock: this.clock, signingClock: this.machine, settings: this.settings });
  }
}

interface Identity {
  readonly pairing: Pairing;
  readonly manager: DeviceManager;
  readonly setupCodes: SetupCodes;
}

interface IdentityOptions {
  /** By which authority ends. */
  readonly clock: Clock;
  readonly signingClock: Clock;
  readonly settings: Settings;
}

function openIdentity(store: Store, { clock, signingClock, settings }: IdentityOptions): Identity {
  const { authMode, autoApproveLocal } = settings;
  const credentials = createCredentials({ secret: new Secret(secret), tokenKey, gatewayId: "aa".repeat(32) });
  const attempts = createAttempts({ store: store.attempts, clock: signingClock });
  const deps = { store: store.devices, credentials, attempts, log: silent, bus: new Bus(), clock, signingClock, autoApproveLocal };
  const cancelRuns: Parameters<typeof createDeviceManager>[0]["cancelRuns"] = (select) => store.runs.cancel(select, new Map(), clock.now());
  return {
    pairing: createPairing({ ...deps, authMode }),
    manager: createDeviceManager({ ...deps, expel: () => Promise.resolve(), cancelRuns }),
    setupCodes: createSetupCodes({ ...deps, store: store.setupCodes }),
  };
}

function ignore(): void {}
