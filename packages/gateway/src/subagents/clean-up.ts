/** Sessions of children spawned with `cleanup: "delete"` go once the parent has read the result: by capability, one key each. */
import type { Caller } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import { background, type Log } from "../kit/log.ts";
import { lifecyclePrincipal, type Principal } from "../principal/principal.ts";
import type { SessionStore } from "../store/store.ts";

export interface CleanUpDeps {
  readonly sessions: SessionStore;
  readonly bus: Bus;
  readonly log: Log;
  readonly callerFor: (principal: Principal) => Caller;
}

/** Cleans up now and after every run that starts or ends, until disposed. What a crash left over goes at the next start. */
export function startCleanUp(deps: CleanUpDeps): AsyncDisposable {
  let working = Promise.resolve();
  const look = (): void => {
    working = working.then(() => cleanUp(deps));
    background(deps.log, "clean up child sessions", working);
    working = working.catch(() => undefined);
  };
  const subscription = deps.bus.subscribe("sessions.changed", ({ reason }) => {
    if (reason === "agent.run.ended") look();
  });
  look();
  return {
    async [Symbol.asyncDispose]() {
      subscription[Symbol.dispose]();
      await working;
    },
  };
}

async function cleanUp(deps: CleanUpDeps): Promise<void> {
  for (const key of await deps.sessions.listToCleanUp()) {
    await deps.callerFor(lifecyclePrincipal(key)).call("sessions.delete", { key, deleteTranscript: true });
  }
}
