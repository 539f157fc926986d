/** Which sub-agent a handle means. Pure. */

/** What a sub-agent can be called by. */
export interface Named {
  readonly runId: string;
  readonly sessionKey: string;
  readonly taskName: string | undefined;
  readonly label: string | undefined;
  readonly hasEnded: boolean;
}

export type Meant<N extends Named> =
  | { readonly kind: "one"; readonly one: N }
  | { readonly kind: "none" }
  | { readonly kind: "several"; readonly candidates: readonly N[] };

/**
 * The one of `all` (newest first) that `handle` means: by id or session first, then by the exact task name or label, then by
 * what a task name or label begins with. Of several with one name those that have not ended come before those that have.
 */
export function findMeant<N extends Named>(all: readonly N[], handle: string): Meant<N> {
  const byId = all.find(({ runId, sessionKey }) => runId === handle || sessionKey === handle);
  if (byId !== undefined) return { kind: "one", one: byId };
  const namesOf = ({ taskName, label }: N): readonly string[] => [taskName, label].filter((name) => name !== undefined);
  for (const fits of [
    (one: N) => one.taskName === handle,
    (one: N) => one.label === handle,
    (one: N) => handle !== "" && namesOf(one).some((name) => name.startsWith(handle)),
  ]) {
    const found = newestOfEachSession(all.filter(fits));
    const open = found.filter(({ hasEnded }) => !hasEnded);
    const candidates = open.length > 0 ? open : found;
    const [one, ...others] = candidates;
    if (one !== undefined) return others.length === 0 ? { kind: "one", one } : { kind: "several", candidates };
  }
  return { kind: "none" };
}

function newestOfEachSession<N extends Named>(runs: readonly N[]): readonly N[] {
  return runs.filter((run, index) => runs.findIndex(({ sessionKey }) => sessionKey === run.sessionKey) === index);
}
