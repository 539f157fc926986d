/** Where a play goes on: the rules alone, or the real store. */
import type { Principal, RunAuthority, RunPrincipal } from "../../packages/gateway/src/principal/principal.ts";
import type { ConnectAsk, Role, Settings, Subject } from "./actions.ts";

export interface Request {
  readonly requestId: string;
  readonly device: number;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
}

export type Verdict =
  | { readonly kind: "admitted"; readonly principal: Principal; readonly endsInMs: number | undefined }
  | { readonly kind: "pending"; readonly request: Request }
  | { readonly kind: "refused" };

export interface StartedRun {
  readonly principal: RunPrincipal;
  readonly authority: RunAuthority;
}

/** A message to a session: the run that it is, and what the run that works there took in, maybe this one among others. */
export interface Steered {
  readonly message: StartedRun;
  readonly into: string | undefined;
  /** Run ids; each has ended by that. */
  readonly takenIn: readonly string[];
}

export interface RunTimes {
  /** Undefined: no deadline of its own. */
  readonly seconds: number | undefined;
}

type Answer<T> = T | Promise<T>;

export type ManagingMethod =
  | "device.pair.approve"
  | "device.pair.reject"
  | "device.pair.remove"
  | "device.token.rotate"
  | "device.token.revoke"
  | "device.pair.setupCode";

/** Whatever a world refuses is undefined or false. */
export interface World {
  connect(ask: ConnectAsk): Answer<Verdict>;
  approve(requestId: string, by: Principal, minutes: number | undefined): Answer<boolean>;
  reject(requestId: string, by: Principal): Answer<boolean>;
  /** Answers what the next token covers. */
  rotate(subject: Subject, scopes: readonly string[] | undefined, by: Principal): Answer<readonly string[] | undefined>;
  /** These two answer how many runs went with it. */
  revoke(subject: Subject, by: Principal): Answer<number | undefined>;
  remove(device: number, by: Principal): Answer<number | undefined>;
  /** Answers the scopes of the code; codes count from 0. */
  invite(
    ask: { readonly role: Role; readonly scopes: readonly string[] | undefined },
    by: Principal,
  ): Answer<readonly string[] | undefined>;
  present(code: number, subject: Subject, scopes: readonly string[]): Answer<Verdict>;
  /** Answers how many runs that cancels. */
  abort(by: Principal, run: RunPrincipal): Answer<number | undefined>;
  /** In the session of `inSessionOf`, which may be a child's, else in a new one. Undefined: refused. */
  start(by: Principal, ask: RunTimes & { readonly inSessionOf: RunPrincipal | undefined }): Answer<StartedRun | undefined>;
  /** `isNarrowed`: with one of the two tools there are. */
  spawn(by: RunPrincipal, ask: RunTimes & { readonly isNarrowed: boolean }): Answer<StartedRun | undefined>;
  /** A message into what works in the run's session. */
  steer(by: Principal, run: RunPrincipal): Answer<Steered | undefined>;
  /** By the policy of now. */
  toolsOf(run: StartedRun): readonly string[];
  restart(): Answer<void>;
  configure(settings: Settings): Answer<void>;
  /** Time passes, or the machine's clock is set: answers the ids of the runs that ended by their deadline. */
  wait(ms: number): Answer<readonly string[]>;
  setClock(byMs: number): Answer<readonly string[]>;
  /** What stands written: of every paired device its roles with their scopes. */
  grants(): Answer<readonly { readonly device: number; readonly role: string; readonly scopes: readonly string[] }[]>;
}
