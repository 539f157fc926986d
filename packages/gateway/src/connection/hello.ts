/** What a hello says that is the same whichever version says it, and the numbered health state in it. */
import { eventDefinitions, listMethods, type Health, type HelloOk } from "@portreeve/protocol";
import type { Admission } from "../identity/pairing.ts";
import type { Clock } from "../kit/clock.ts";
import { mayHear } from "../principal/hearing.ts";
import type { Presence } from "./presence.ts";
import type { HelloFacts } from "./versions/wire-version.ts";

export interface HealthFeed {
  /** The gateway's health as it is; every reading has the next number. */
  read(): Promise<{ readonly health: Health; readonly healthVersion: number }>;
  /** Of the newest reading. */
  readonly version: number;
}

export function createHealthFeed(health: () => Promise<Health>): HealthFeed {
  let healthVersion = 0;
  return {
    async read() {
      const reading = await health();
      healthVersion += 1;
      return { health: reading, healthVersion };
    },
    get version() {
      return healthVersion;
    },
  };
}

export interface HelloDeps {
  readonly health: HealthFeed;
  readonly presence: Pick<Presence, "listForAll" | "version">;
  readonly sessionDefaults: () => Promise<HelloOk["snapshot"]["sessionDefaults"]>;
  readonly serverVersion: string;
  readonly bootId: string;
  readonly clock: Clock;
  readonly paths: HelloFacts["paths"];
  readonly authMode: string;
}

export type GatherHello = (connId: string, admission: Admission) => Promise<HelloFacts>;

export function createHello(deps: HelloDeps): GatherHello {
  const startedAtMs = deps.clock.now();
  const methods = { 3: listMethods(3), 4: listMethods(4) };
  const eventNames = Object.keys(eventDefinitions);
  const readHealth = sharing(deps.health, deps.clock);
  return async (connId, admission) => ({
    serverVersion: deps.serverVersion,
    bootId: deps.bootId,
    connId,
    admission,
    methods,
    events: eventNames,
    ...(await readHealth()),
    presence: mayHear(admission.principal, "presence") ? deps.presence.listForAll() : [],
    presenceVersion: deps.presence.version,
    uptimeMs: deps.clock.now() - startedAtMs,
    sessionDefaults: await deps.sessionDefaults(),
    paths: deps.paths,
    authMode: deps.authMode,
  });
}

/** Hellos within so long say the same reading: it counts sessions, and after a start all devices come at once. */
const sharedMs = 1_000;

function sharing(health: HealthFeed, clock: Clock): HealthFeed["read"] {
  let last: { readonly atMs: number; readonly reading: ReturnType<HealthFeed["read"]> } | undefined;
  return async () => {
    const nowMs = clock.now();
    if (last === undefined || Math.abs(nowMs - last.atMs) >= sharedMs) last = { atMs: nowMs, reading: health.read() };
    const { reading } = last;
    try {
      return await reading;
    } catch (error) {
      if (last?.reading === reading) last = undefined;
      throw error;
    }
  };
}
