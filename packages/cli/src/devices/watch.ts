/** `devices watch`: tells every change of pairing until Ctrl-C, over lost connections too. */
import { backoffDelayMs, mayReconnectAfter, pause, type Backoff, type GatewayClient } from "@portreeve/client";
import type { EventName } from "@portreeve/protocol/wire";
import type { Access } from "../access.ts";
import { oneLine, writeJson, writeLine, type Io } from "../output.ts";
import { findChanges, tellChange } from "./changes.ts";
import { openAsManager } from "./manage.ts";
import type { DeviceList } from "./words.ts";

export interface WatchOptions {
  readonly asJson: boolean;
  readonly backoff?: Backoff;
}

/** Each says: read the list again. */
const hints = ["device.pair.requested", "device.pair.resolved", "device.pair.changed"] as const satisfies readonly EventName[];
/** What needs no event, such as a request that expires, is seen this much later at most. */
const lookEveryMs = 15_000;

/** Resolves at Ctrl-C. @throws when the gateway cannot be reached at first, or refuses. */
export async function watchDevices(io: Io, access: Access, options: WatchOptions): Promise<void> {
  const interrupted = io.interrupted();
  const watch = new DeviceWatch(io, options.asJson);
  const { backoff = { minDelayMs: 1_000, maxDelayMs: 30_000 } } = options;
  let attempt = 0;
  while (!interrupted.aborted) {
    try {
      using client = await openAsManager(access);
      attempt = 0;
      await watch.follow(client, interrupted);
    } catch (error) {
      if (interrupted.aborted) return;
      if (!watch.hasLooked || !mayReconnectAfter(error)) throw error;
      if (attempt === 0) watch.note("The connection was lost; trying again until Ctrl-C.");
      await pause(backoffDelayMs(attempt, backoff, Math.random()), interrupted).catch(() => undefined);
      attempt += 1;
    }
  }
}

class DeviceWatch {
  readonly #io: Io;
  readonly #asJson: boolean;
  readonly #decisions = new Map<string, "approved" | "rejected">();
  #list: DeviceList | undefined;

  constructor(io: Io, asJson: boolean) {
    this.#io = io;
    this.#asJson = asJson;
  }

  get hasLooked(): boolean {
    return this.#list !== undefined;
  }

  /** Resolves when interrupted, rejects when the connection ends. Looks again at every hint, so that no lost event is missed. */
  async follow(client: GatewayClient, interrupted: AbortSignal): Promise<void> {
    let next = Promise.withResolvers<void>();
    let ended: Error | undefined;
    const look = (): void => next.resolve();
    using listening = new DisposableStack();
    for (const hint of hints) listening.use(client.on(hint, look));
    listening.use(client.on("device.pair.resolved", ({ requestId, decision }) => void this.#decisions.set(requestId, decision)));
    interrupted.addEventListener("abort", look);
    listening.defer(() => interrupted.removeEventListener("abort", look));
    const timer = setInterval(look, lookEveryMs);
    listening.defer(() => clearInterval(timer));
    void client.closed.then((error) => {
      ended = error;
      look();
    });
    while (!interrupted.aborted && ended === undefined) {
      this.#tell(await client.call("device.pair.list", {}));
      await next.promise;
      next = Promise.withResolvers();
    }
    if (ended !== undefined) throw ended;
  }

  note(text: string): void {
    if (!this.#asJson) this.#io.err(`${text}\n`);
  }

  #tell(list: DeviceList): void {
    const nowMs = Date.now();
    if (this.#list === undefined) {
      const [pending, paired] = [list.pending.length, list.paired.length];
      this.note(`Watching: ${pending} wait for an approval, ${paired} paired. Ctrl-C stops.`);
      if (this.#asJson) writeJson(this.#io, { ts: nowMs, kind: "watching", pending, paired });
    }
    const before = this.#list ?? { pending: [], paired: list.paired };
    const changes = findChanges(before, list, { decisions: this.#decisions, nowMs });
    for (const change of changes) {
      if (this.#asJson) writeJson(this.#io, { ts: nowMs, ...change });
      else writeLine(this.#io, `${new Date(nowMs).toISOString().slice(11, 19)}Z  ${oneLine(tellChange(change), 400)}`);
    }
    this.#list = list;
    // A decision may be heard before the answer arrives that still has its request.
    for (const requestId of this.#decisions.keys())
      if (!list.pending.some((request) => request.requestId === requestId)) this.#decisions.delete(requestId);
  }
}
