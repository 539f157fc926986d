/**
 * The requests of one open connection: parsed, dispatched, answered under their id; no more of them at once than it may have, and
 * none while megabytes of what it asked for wait to be read.
 */
import { isMethodName, limits, type MethodName, parseFrame, ProtocolError, type RequestFrame } from "@portreeve/protocol";
import type { ConnectionHandle, Dispatch } from "../dispatch/types.ts";
import { background, type Log } from "../kit/log.ts";
import type { Principal } from "../principal/principal.ts";
import type { Outbound } from "./outbound.ts";
import type { WireVersion } from "./versions/wire-version.ts";

/** They take no work, only time: a run's wait may not keep its abort from being read. */
const waits: ReadonlySet<string> = new Set<MethodName>([
  "agent.wait",
  "device.scopes.waitUpgrade",
  "exec.approval.waitDecision",
  "subagents.wait",
]);

export interface RequestsDeps {
  readonly dispatch: Dispatch;
  readonly log: Log;
  readonly principal: Principal;
  /** Ends the connection when its authority is over; asked before every request. */
  readonly checkAuthority: () => void;
  readonly version: WireVersion;
  readonly outbound: Outbound;
  readonly handle: ConnectionHandle;
  /** Stops and resumes reading from the socket. What was read already may still arrive. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Everything is sent that waited when reading stopped. */
  readonly caughtUp: () => void;
}

export class Requests {
  readonly #deps: RequestsDeps;
  /** Requests without any answer yet: only these count against the bound. */
  readonly #inWork = new Set<AbortController>();
  /** Requests that have their first of two answers: a run may take hours, and must not keep its own abort from being read. */
  readonly #accepted = new Set<AbortController>();
  /** Requests that only wait: they have a bound of their own. */
  readonly #waits = new Set<AbortController>();
  /** Every request until its handler is done, answered or not. */
  readonly #unsettled = new Map<AbortSignal, Promise<void>>();
  /** Frames that were in the socket's buffer when reading stopped. */
  readonly #waiting: string[] = [];
  #isPaused = false;
  #awaitsDrain = false;
  /** Was behind, and still has requests from then: they are begun in turn, so that each finds what the one before it left unsent. */
  #isCatchingUp = false;
  #wrongRoleAnswers = 0;
  #isEnded = false;
  /** The one request that is still answered after the end, and what happens then. */
  #last: { readonly signal: AbortSignal; readonly finish: () => void } | undefined;

  constructor(deps: RequestsDeps) {
    this.#deps = deps;
  }

  receive(text: string): void {
    if (this.#isEnded) return;
    if (this.#waiting.length === 0 && this.#mayStart()) return this.#start(text);
    this.#waiting.push(text);
    this.#hold();
  }

  /** What was begun and is not done yet, by its signal: it may still write. */
  get unsettled(): ReadonlyMap<AbortSignal, Promise<void>> {
    return this.#unsettled;
  }

  /** Nobody waits for answers any more. */
  end(): void {
    this.#isEnded = true;
    this.#waiting.length = 0;
    const begun = [...this.#inWork, ...this.#accepted, ...this.#waits];
    if (begun.length === 0) return;
    const reason = new ProtocolError("SHUTTING_DOWN", "the connection is closed");
    for (const controller of begun) {
      if (controller.signal !== this.#last?.signal) controller.abort(reason);
    }
  }

  /** Like `end`, but the request with this signal is answered before `finish`. */
  endAfter(signal: AbortSignal, finish: () => void): void {
    this.#last = { signal, finish };
    this.end();
    if (![...this.#inWork].some((controller) => controller.signal === signal)) finish();
  }

  #start(text: string): void {
    const { log, outbound, version, handle, checkAuthority } = this.#deps;
    checkAuthority();
    // Whoever was closed has no say, even while its socket is still open.
    if (this.#isEnded || outbound.isClosed) return;
    const parsed = parseFrame(text);
    if (parsed.kind === "not-json") return log.debug({ connId: handle.connId }, "a frame that is not JSON was ignored");
    if (parsed.kind === "frame") return this.#begin(parsed.frame);
    this.#wrongRoleAnswers = 0;
    outbound.refuse(
      parsed.id,
      version.error(
        new ProtocolError("INVALID_FRAME", parsed.message, { remedy: "Send one JSON object with type, id, method and params." }),
      ),
    );
  }

  #begin(frame: RequestFrame): void {
    const isWait = waits.has(frame.method);
    if (isWait && this.#waits.size >= limits.requestsInFlight) return this.#refuse(frame.id, frame.method, tooManyWaits());
    const controller = new AbortController();
    (isWait ? this.#waits : this.#inWork).add(controller);
    const settled = this.#answer(frame, controller);
    this.#unsettled.set(controller.signal, settled);
    background(this.#deps.log, "answer request", settled);
  }

  async #answer({ id, method, params }: RequestFrame, controller: AbortController): Promise<void> {
    const { dispatch, principal, outbound, version, handle } = this.#deps;
    const isHeard = (): boolean => !this.#isEnded || controller.signal === this.#last?.signal;
    const accept = (accepted: unknown): void => {
      if (isHeard()) outbound.answer(id, isMethodName(method) ? version.accepted(method, accepted) : accepted);
      this.#inWork.delete(controller);
      this.#accepted.add(controller);
      this.#startWaiting();
    };
    try {
      const { protocol } = version;
      const result = await dispatch(principal, method, version.params(method, params), {
        version: protocol,
        connection: handle,
        signal: controller.signal,
        accept,
      });
      this.#wrongRoleAnswers = 0;
      if (isHeard()) outbound.answer(id, isMethodName(method) ? version.result(method, result) : result);
    } catch (error) {
      if (isHeard()) this.#refuse(id, method, error);
    } finally {
      this.#unsettled.delete(controller.signal);
      if (controller.signal === this.#last?.signal) this.#last.finish();
      this.#inWork.delete(controller);
      this.#accepted.delete(controller);
      this.#waits.delete(controller);
      this.#startWaiting();
    }
  }

  #refuse(id: string, method: string, thrown: unknown): void {
    const { log, outbound, version, handle } = this.#deps;
    if (!(thrown instanceof ProtocolError)) log.error({ err: thrown, connId: handle.connId }, "a request failed outside of dispatch");
    const error = thrown instanceof ProtocolError ? thrown : new ProtocolError("INTERNAL", "internal error");
    const instead = version.insteadOfRefusal(method, error);
    if (instead === undefined) outbound.refuse(id, version.error(error));
    else outbound.answer(id, instead);
    this.#wrongRoleAnswers = error.code === "WRONG_CALLER" ? this.#wrongRoleAnswers + 1 : 0;
    if (this.#wrongRoleAnswers > limits.wrongRoleAnswers) outbound.close(1008, "repeated unauthorized calls");
  }

  #mayStart(): boolean {
    return this.#inWork.size < limits.requestsInFlight && !this.#deps.outbound.isBehind;
  }

  /** Reads no more until those that wait have begun. */
  #hold(): void {
    if (!this.#awaitsDrain && this.#deps.outbound.isBehind) {
      this.#awaitsDrain = true;
      this.#isCatchingUp = true;
      this.#deps.outbound.onceDrained(() => {
        this.#awaitsDrain = false;
        this.#deps.caughtUp();
        this.#startInTurn();
      });
    }
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#deps.pause();
  }

  #startWaiting(): void {
    if (this.#isCatchingUp) return;
    while (this.#waiting.length > 0 && this.#mayStart()) this.#start(this.#waiting.shift() ?? "");
    this.#readOn();
  }

  #startInTurn(): void {
    const next = this.#mayStart() ? this.#waiting.shift() : undefined;
    if (next !== undefined) this.#start(next);
    this.#readOn();
    // With all in work that may be, whichever is done next begins what waits.
    if (next === undefined && !this.#awaitsDrain) this.#isCatchingUp = false;
    // Most answers are written in the turn in which their request begins.
    if (this.#isCatchingUp && !this.#awaitsDrain) setImmediate(() => this.#startInTurn());
  }

  #readOn(): void {
    if (this.#waiting.length > 0) return this.#hold();
    this.#isCatchingUp = false;
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#deps.resume();
  }
}

function tooManyWaits(): ProtocolError {
  return new ProtocolError("TOO_MANY_WAITS", `this connection waits for ${limits.requestsInFlight} things, as many as it may`, {
    remedy: "ask again when one of them has come",
  });
}
