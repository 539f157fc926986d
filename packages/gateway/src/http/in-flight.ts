/** Requests of HTTP that are being judged or handled, so that an authority that ends, ends them too. */
import type { BearerClaim } from "../identity/bearers.ts";
import type { ExpelDevice } from "../identity/device-management.ts";
import type { Clock } from "../kit/clock.ts";

export class InFlight {
  readonly #clock: Clock;
  readonly #requests = new Set<InFlightRequest>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(): InFlightRequest {
    const request = new InFlightRequest(this.#clock, () => this.#requests.delete(request));
    this.#requests.add(request);
    return request;
  }

  /** Resolves when nothing the bearer asked for can be answered any more. */
  async expelDevice({ deviceId, role }: Parameters<ExpelDevice>[0]): Promise<void> {
    if (role !== undefined && role !== "operator") return;
    await this.#end((claim) => claim.kind === "device" && claim.deviceId === deviceId);
  }

  /** The shared secret is another one: what stands on the old one ends. */
  secretChanged(): void {
    void this.#end(({ kind }) => kind === "secret");
  }

  async #end(isMeant: (claim: BearerClaim) => boolean): Promise<void> {
    const meant = [...this.#requests].filter(({ claims }) => claims.some(isMeant));
    for (const request of meant) request.expel();
    await Promise.all(meant.map(({ settled }) => settled));
  }
}

/** One request; disposed of when its answer is written or nobody waits for it. */
export class InFlightRequest implements Disposable {
  readonly claims: BearerClaim[] = [];
  readonly #controller = new AbortController();
  readonly #gone = Promise.withResolvers<void>();
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  #timer: Disposable | undefined;
  #isExpelled = false;

  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** Aborts when the answer is not wanted any more. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isExpelled(): boolean {
    return this.#isExpelled;
  }

  get settled(): Promise<void> {
    return this.#gone.promise;
  }

  /** Its authority ended: whatever was asked for is not answered. */
  expel(): void {
    this.#isExpelled = true;
    this.abandon();
  }

  expelAfter(ms: number): void {
    this.#timer = this.#clock.schedule(this.#clock.now() + ms, () => this.expel());
  }

  /** Whoever asked is gone. */
  abandon(): void {
    this.#controller.abort(new Error("nobody waits for the answer"));
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#onEnd();
    this.#gone.resolve();
  }
}
