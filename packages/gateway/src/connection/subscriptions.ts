/** Who hears what: events from the bus go to the open connections that may and want to hear them. */
import { agentOfSessionKey, eventDefinitions, type EventName, type EventPayload, type Message, type SessionRow } from "@portreeve/protocol";
import type { BoundTo, Bus, BusMessages } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { background, type Log } from "../kit/log.ts";
import { maySeeApproval } from "../principal/approvers.ts";
import { mayHear } from "../principal/hearing.ts";
import type { Principal } from "../principal/principal.ts";
import type { OutgoingEvent, StateVersion } from "./outbound.ts";
import type { WireVersion } from "./versions/wire-version.ts";

/** A connection, as far as events go. */
export interface Hearer {
  readonly principal: Principal | undefined;
  readonly version: WireVersion | undefined;
  readonly caps: readonly string[];
  readonly hearsSessions: boolean;
  hearsMessages(sessionKey: string): boolean;
  follows(wireId: string): boolean;
  sendEvent(event: OutgoingEvent): void;
}

export interface SubscriptionsDeps {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  /** The session as lists show it; undefined when there is none. */
  readonly rowOf: (sessionKey: string) => Promise<SessionRow | undefined>;
  /** Messages of a session as histories show them, oldest first. */
  readonly messagesOf: (
    sessionKey: string,
    range: { readonly fromSeq: number; readonly throughSeq: number },
  ) => Promise<readonly Message[]>;
}

const toldAtOnce = 50;

export class Subscriptions implements Disposable {
  readonly #deps: SubscriptionsDeps;
  readonly #hearers = new Set<Hearer>();
  readonly #bus: DisposableStack;
  /** Looks up one thing after the other, so that changes arrive in their order. */
  #lookups: Promise<void> = Promise.resolve();

  constructor(deps: SubscriptionsDeps) {
    this.#deps = deps;
    this.#bus = new DisposableStack();
    this.#bus.use(deps.bus.subscribe("agent", (event) => this.#tellAgent(event)));
    // The end of a reply is not live text: whoever loses it must be closed, not left waiting.
    this.#bus.use(deps.bus.subscribe("chat", (event) => this.tell("chat", event, { droppable: event.state === "delta" })));
    this.#bus.use(deps.bus.subscribe("sessions.changed", (change) => this.#tellSessions(change)));
    this.#bus.use(deps.bus.subscribe("appended", (appended) => this.#tellMessages(appended)));
    this.#bus.use(deps.bus.subscribe("cron", (change) => this.tell("cron", change)));
    this.#bus.use(deps.bus.subscribe("device.pair.requested", (request) => this.tell("device.pair.requested", request)));
    this.#bus.use(deps.bus.subscribe("device.pair.resolved", (resolution) => this.tell("device.pair.resolved", resolution)));
    for (const name of ["device.pair.setup.completed", "device.pair.setup.deliveryUncertain"] as const)
      this.#bus.use(deps.bus.subscribe(name, (completion) => this.tell(name, completion)));
    this.#bus.use(deps.bus.subscribe("device.pair.changed", (change) => this.tell("device.pair.changed", change)));
    this.#bus.use(deps.bus.subscribe("config.changed", (change) => this.tell("config.changed", change)));
    for (const name of ["exec.approval.requested", "exec.approval.resolved"] as const)
      this.#bus.use(deps.bus.subscribe(name, (approval) => this.#tellApproval(name, approval)));
    this.#bus.use(deps.bus.subscribe("node.pair.requested", (request) => this.tell("node.pair.requested", request)));
    this.#bus.use(deps.bus.subscribe("node.pair.resolved", (resolution) => this.tell("node.pair.resolved", resolution)));
  }

  add(hearer: Hearer): void {
    this.#hearers.add(hearer);
  }

  remove(hearer: Hearer): void {
    this.#hearers.delete(hearer);
  }

  /** Sends the event to every connection with its scope that `wants` it. */
  tell<N extends EventName>(
    name: N,
    payload: EventPayload<N>,
    options: { readonly wants?: (hearer: Hearer) => boolean; readonly droppable?: boolean; readonly stateVersion?: StateVersion } = {},
  ): void {
    const { wants = () => true, droppable = eventDefinitions[name].droppable, stateVersion } = options;
    const texts = new Map<WireVersion, string>();
    for (const hearer of this.#hearers) {
      const { version } = hearer;
      if (version === undefined || !mayHear(hearer.principal, name) || !wants(hearer)) continue;
      const payloadJson = texts.get(version) ?? JSON.stringify(version.event(name, payload));
      texts.set(version, payloadJson);
      hearer.sendEvent({ name, payloadJson, droppable, stateVersion });
    }
  }

  [Symbol.dispose](): void {
    this.#bus.dispose();
  }

  #tellApproval<N extends "exec.approval.requested" | "exec.approval.resolved">(name: N, approval: BoundTo<EventPayload<N>>): void {
    const wants = ({ principal }: Hearer): boolean => principal !== undefined && maySeeApproval(principal, approval);
    this.tell(name, approval.payload, { wants });
  }

  /** What tools were called with and answered goes to whoever started the run and asked for it. */
  #tellAgent(event: BusMessages["agent"]): void {
    const wants =
      event.stream === "tool" ? (hearer: Hearer) => hearer.caps.includes("tool-events") && hearer.follows(event.runId) : () => true;
    this.tell("agent", event, { wants });
  }

  #tellSessions({ sessionKey, reason, runId }: BusMessages["sessions.changed"]): void {
    const wants = (hearer: Hearer): boolean => hearer.hearsSessions;
    if (![...this.#hearers].some(wants)) return;
    const ts = this.#deps.clock.now();
    this.#lookUp("tell session change", async () => {
      const session = await this.#deps.rowOf(sessionKey);
      const agentId = session?.agentId ?? agentOfSessionKey(sessionKey) ?? "";
      this.tell(
        "sessions.changed",
        { sessionKey, agentId, reason, ts, ...(runId === undefined ? {} : { runId }), ...(session === undefined ? {} : { session }) },
        { wants },
      );
    });
  }

  /** Whoever hears of every session hears what is said in each. */
  #tellMessages({ sessionKey, fromSeq, throughSeq }: BusMessages["appended"]): void {
    const wants = (hearer: Hearer): boolean => hearer.hearsSessions || hearer.hearsMessages(sessionKey);
    if (![...this.#hearers].some(wants)) return;
    this.#lookUp("tell messages", async () => {
      // A copied conversation is not news: who misses numbers before these reads the history.
      const range = { fromSeq: Math.max(fromSeq, throughSeq - toldAtOnce + 1), throughSeq };
      const messages = await this.#deps.messagesOf(sessionKey, range);
      const session = await this.#deps.rowOf(sessionKey);
      if (session === undefined) return;
      for (const message of messages) {
        const { id: messageId, seq: messageSeq } = message.__openclaw;
        this.tell("session.message", { sessionKey, agentId: session.agentId, message, messageId, messageSeq, session }, { wants });
      }
    });
  }

  /** One look after the other; one that fails loses its hint, and the next change is told all the same. */
  #lookUp(name: string, tell: () => Promise<void>): void {
    const lookup = this.#lookups.then(tell);
    this.#lookups = lookup.catch(() => undefined);
    background(this.#deps.log, name, lookup);
  }
}
