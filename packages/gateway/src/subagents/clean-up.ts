/**
 * What becomes of finished children's sessions: spawned with `cleanup: "delete"` they go once the parent has read the result,
 * by a capability for that one key; the others are archived when they have been quiet for long enough.
 */
import type { Caller } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import { lifecyclePrincipal, type Principal } from "../principal/principal.ts";
import type { SessionStore } from "../store/store.ts";
import type { AttachmentFiles } from "./attachment-files.ts";

export interface CleanUpDeps {
  readonly sessions: SessionStore;
  readonly attachments: AttachmentFiles;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly callerFor: (principal: Principal) => Caller;
  /** Quiet time before a child's session is archived; undefined: never. */
  readonly archiveAfterMs: number | undefined;
}

const lookEveryMs = 60_000;

/** Looks now, after every delivered result and every end, and each minute, until disposed. What a crash left over is found at the next start. */
export function startCleanUp(deps: CleanUpDeps): AsyncDisposable {
  const { bus, clock, log } = deps;
  let working = Promise.resolve();
  const add = (work: () => Promise<void>): void => {
    const next = working.then(work);
    background(log, "clean up child sessions", next);
    working = next.catch(() => undefined);
  };
  let timer: Disposable;
  const tidyAndArm = (): void => {
    add(() => tidy(deps));
    timer = clock.schedule(clock.now() + lookEveryMs, tidyAndArm);
  };
  let isAsked = false;
  const askAgain = (): void => {
    if (isAsked) return;
    isAsked = true;
    add(async () => {
      // One look finds what all results and ends up to now have left.
      isAsked = false;
      if (await deleteRead(deps)) await deps.attachments.sweep();
    });
  };
  const results = bus.subscribe("agent", ({ stream, data }) => {
    if (stream === "subagent" && data.phase === "announced") askAgain();
  });
  // A session may have waited for what was at work below it, of which nobody is told.
  const ends = bus.subscribe("run-ended", askAgain);
  tidyAndArm();
  return {
    async [Symbol.asyncDispose]() {
      timer[Symbol.dispose]();
      results[Symbol.dispose]();
      ends[Symbol.dispose]();
      await working;
    },
  };
}

async function tidy(deps: CleanUpDeps): Promise<void> {
  const { sessions, attachments, bus, clock, archiveAfterMs } = deps;
  await deleteRead(deps);
  const archived = archiveAfterMs === undefined ? [] : await sessions.archiveChildren(clock.now() - archiveAfterMs, clock.now());
  for (const sessionKey of archived) bus.publish("sessions.changed", { sessionKey, reason: "patch" });
  await attachments.sweep();
}

/** Answers whether there was anything to delete. */
async function deleteRead({ sessions, callerFor }: CleanUpDeps): Promise<boolean> {
  const keys = await sessions.listToCleanUp();
  for (const key of keys) await callerFor(lifecyclePrincipal(key)).call("sessions.delete", { key, deleteTranscript: true });
  return keys.length > 0;
}
