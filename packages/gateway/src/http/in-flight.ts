/** Requests of HTTP that are being judged or handled, so that an authority that ends, or the gateway that does, ends them too. */
import { limits, ProtocolError } from "@portreeve/protocol";
import type { BearerClaim } from "../identity/bearers.ts";
import type { ExpelDevice } from "../identity/device-management.ts";
import type { Clock } from "../kit/clock.ts";

export class InFlight {
  readonly #clock: Clock;
  readonly #requests = new Set<InFlightRequest>();
  /** How many requests are under way, by who asks. */
  readonly #perAsker = new Map<string, number>();
  #isClosing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(): InFlightRequest {
    const request = new InFlightRequest(this.#clock, () => {
      this.#requests.delete(request);
      if (request.asker !== undefined) this.#leave(request.asker);
    });
    this.#requests.add(request);
    if (this.#isClosing) request.end("stopping");
    return request;
  }

  /** Whether whoever asks may have one more under way; each as many as a socket may. */
  admit(request: InFlightRequest, asker: string): boolean {
    const underWay = this.#perAsker.get(asker) ?? 0;
    if (underWay >= limits.requestsInFlight) return false;
    this.#perAsker.set(asker, underWay + 1);
    request.asker = asker;
    return true;
  }

  /** Resolves when nothing the bearer asked for can be answered any more. */
  async expelDevice({ deviceId, role }: Parameters<ExpelDevice>[0]): Promise<void> {
    if (role !== undefined && role !== "operator") return;
    await this.#expel((claim) => claim.kind === "device" && claim.deviceId === deviceId);
  }

  /** The shared secret is another one: what stands on the old one ends. */
  secretChanged(): void {
    void this.#expel(({ kind }) => kind === "secret");
  }

  /** The gateway stops: resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await endAll([...this.#requests], "stopping");
  }

  #leave(asker: string): void {
    const left = (this.#perAsker.get(asker) ?? 1) - 1;
    if (left > 0) this.#perAsker.set(asker, left);
    else this.#perAsker.delete(asker);
  }

  async #expel(isMeant: (claim: BearerClaim) => boolean): Promise<void> {
    await endAll(
      [...this.#requests].filter(({ claims }) => claims.some(isMeant)),
      "expelled",
    );
  }
}

async function endAll(requests: readonly InFlightRequest[], why: EarlyEnd): Promise<void> {
  for (const request of requests) request.end(why);
  await Promise.all(requests.map(({ settled }) => settled));
}

/** `expelled`: its authority ended. */
export type EarlyEnd = "expelled" | "stopping";

/** One request; disposed of when its answer is written or nobody waits for it. */
export class InFlightRequest implements Disposable {
  readonly claims: BearerClaim[] = [];
  /** Who asks, once that is known. */
  asker: string | undefined;
  readonly #controller = new AbortController();
  readonly #gone = Promise.withResolvers<void>();
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  #timer: Disposable | undefined;
  #ended: EarlyEnd | undefined;

  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** Aborts when the answer is not wanted any more. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why whatever was asked for is not answered; undefined: it is. */
  get ended(): EarlyEnd | undefined {
    return this.#ended;
  }

  get settled(): Promise<void> {
    return this.#gone.promise;
  }

  end(why: EarlyEnd): void {
    this.#ended = why;
    this.abandon();
  }

  expelAfter(ms: number): void {
    this.#timer = this.#clock.schedule(this.#clock.now() + ms, () => this.end("expelled"));
  }

  /** Whoever asked is gone. */
  abandon(): void {
    this.#controller.abort(new ProtocolError("SHUTTING_DOWN", "nobody waits for the answer"));
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#onEnd();
    this.#gone.resolve();
  }
}
