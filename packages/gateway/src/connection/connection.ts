/** One socket's life: challenge, handshake, then requests in and answers and events out, until it closes. */
import { type ConnectParams, limits, ProtocolError } from "@portreeve/protocol";
import type { WebSocket } from "ws";
import type { ConnectionHandle, CountRefusal, Dispatch } from "../dispatch/types.ts";
import type { OriginVerdict, Peer } from "../http/guard.ts";
import type { NodeLinks } from "../identity/node-link.ts";
import { toDeclaration } from "../identity/node-pairing.ts";
import type { Admission, Delivery, Pairing } from "../identity/pairing.ts";
import type { GatewayKey } from "../identity/state-keys.ts";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import { background, type Log } from "../kit/log.ts";
import type { Principal } from "../principal/principal.ts";
import { stepHandshake, type Handshake, type HandshakeInput, type HandshakeOutput } from "./handshake.ts";
import type { GatherHello } from "./hello.ts";
import { atDoor, toRefusal } from "./handshake-refusal.ts";
import type { JoinedWrites } from "./joined-writes.ts";
import { Outbound, type OutgoingEvent } from "./outbound.ts";
import { Requests } from "./requests.ts";
import { wireVersions, type HelloFacts, type WireVersion } from "./versions/wire-version.ts";

export interface ConnectionDeps {
  readonly pairing: Pick<Pairing, "authenticate">;
  readonly dispatch: Dispatch;
  readonly gatewayKey: GatewayKey;
  readonly hello: GatherHello;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  readonly countRefusal: CountRefusal;
  readonly nodes: NodeLinks;
}

export interface ConnectionEvents {
  /** Why this one may not be let in as well, or undefined. */
  readonly problemWith: (principal: Principal) => ProtocolError | undefined;
  /** After the hello went out, before any queued request is answered. */
  readonly onOpen: (connection: Connection) => void;
  /** Exactly once, whatever the state was. */
  readonly onClosed: (connection: Connection) => void;
}

/** Who came, and over what. */
export interface Arrival {
  readonly peer: Peer;
  readonly origin: OriginVerdict;
  /** Of the socket beneath. */
  readonly writes: JoinedWrites;
}

/** What an admitted connection has. */
interface Session {
  readonly principal: Principal;
  readonly version: WireVersion;
  readonly requests: Requests;
}

/** Who was let in, and what the hello says to it. */
interface Admitted {
  readonly connect: ConnectParams;
  readonly hello: HelloFacts;
}

/** The code of a socket that ended without a close frame. */
const broken = 1006;

/** Runs a connection may follow; the oldest is forgotten first. */
const followedRuns = 1_024;
const heardSessions = 1_024;

export class Connection implements ConnectionHandle {
  readonly connId: string;
  readonly #deps: ConnectionDeps;
  readonly #events: ConnectionEvents;
  readonly #socket: WebSocket;
  readonly #peer: Peer;
  readonly #hasOrigin: boolean;
  readonly #outbound: Outbound;
  readonly #nonce: string;
  readonly #deadline: Disposable;
  readonly #followed = new Set<string>();
  readonly #heardMessages = new Set<string>();
  readonly #gone = Promise.withResolvers<void>();
  #handshake: Handshake;
  #session: Session | undefined;
  #claim: { readonly deviceId: string; readonly role: "operator" | "node" } | undefined;
  #client: ConnectParams["client"] | undefined;
  #isExpelled = false;
  #authorityEnd: Disposable | undefined;
  #caps: readonly string[] = [];
  #hearsSessions = false;
  #awaitsPong = false;
  #hasPresented = false;
  /** Until the peer is heard after its hello. */
  #delivery: Admission["delivery"];

  /** Sends the challenge. `socket` is open and nobody else listens to it. */
  constructor(socket: WebSocket, arrival: Arrival, deps: ConnectionDeps, events: ConnectionEvents) {
    this.connId = deps.ids.uuid();
    this.#deps = deps;
    this.#events = events;
    this.#socket = socket;
    this.#peer = arrival.peer;
    this.#hasOrigin = arrival.origin !== "none";
    this.#handshake = { state: "challenged", origin: arrival.origin };
    this.#outbound = new Outbound(socket, arrival.writes);
    this.#nonce = deps.ids.uuid();
    this.#deadline = deps.clock.schedule(deps.clock.now() + limits.handshakeTimeoutMs, () => this.#step({ kind: "timeout" }));

    // Sockets deliver Buffers: no other binary type is ever chosen.
    socket.on("message", (data) => this.#receive(Buffer.isBuffer(data) ? data.toString("utf8") : ""));
    socket.on("ping", (data) => this.#pong(data));
    socket.on("pong", () => {
      this.#awaitsPong = false;
      this.#settleDelivery("heard");
    });
    // The close that follows says it all: a broken frame or a reset is the peer's affair.
    socket.on("error", (error) => deps.log.debug({ connId: this.connId, err: error }, "socket error"));
    socket.on("close", (code) => this.#onClose(code));
    this.#challenge();
  }

  /** Undefined before the hello, and from the moment on at which the authority ended. */
  get principal(): Principal | undefined {
    return this.#isExpelled ? undefined : this.#session?.principal;
  }

  /** Which device it says it is, from its first frame on and proved or not: what may be let in as the device is closed with it. */
  get claim(): { readonly deviceId: string; readonly role: "operator" | "node" } | undefined {
    return this.#claim;
  }

  /** What it says it is: shown, never trusted. */
  get client(): ConnectParams["client"] | undefined {
    return this.#client;
  }

  get version(): WireVersion | undefined {
    return this.#session?.version;
  }

  get caps(): readonly string[] {
    return this.#caps;
  }

  get hearsSessions(): boolean {
    return this.#hearsSessions;
  }

  setSessionsSubscription(on: boolean): void {
    this.#hearsSessions = on;
  }

  hearsMessages(sessionKey: string): boolean {
    return this.#heardMessages.has(sessionKey);
  }

  setMessagesSubscription(sessionKey: string, on: boolean): boolean {
    if (!on) this.#heardMessages.delete(sessionKey);
    else if (this.#heardMessages.size < heardSessions) this.#heardMessages.add(sessionKey);
    return !on || this.#heardMessages.has(sessionKey);
  }

  followRun(wireId: string): void {
    this.#followed.delete(wireId);
    this.#followed.add(wireId);
    const [oldest] = this.#followed;
    if (this.#followed.size > followedRuns && oldest !== undefined) this.#followed.delete(oldest);
  }

  follows(wireId: string): boolean {
    return this.#followed.has(wireId);
  }

  /** `payloadJson` is in this connection's version already. */
  sendEvent(event: OutgoingEvent): void {
    this.#outbound.event(event);
  }

  /** Resolves when the socket is closed. */
  get closed(): Promise<void> {
    return this.#gone.promise;
  }

  /**
   * Drops an open peer that left the last ping unanswered. A paused socket cannot read answers and is not asked, unless the peer
   * reads nothing itself: then it answers by reading.
   */
  ping(): void {
    if (this.#session === undefined || (this.#socket.isPaused && !this.#outbound.isBehind)) return;
    if (this.#awaitsPong) return this.#socket.terminate();
    this.#awaitsPong = true;
    this.#socket.ping();
  }

  close(code: number, reason: string): void {
    this.#outbound.close(code, reason);
    // Only a socket that is read gets the peer's half of the close.
    this.#socket.resume();
  }

  /** Its place is wanted: told and cut off at once, since a peer that takes its time closing would hold it. */
  evict(): void {
    this.close(1013, "too many unauthenticated sockets");
    this.#socket.terminate();
  }

  /** The shared secret is another one: who stands on the old one alone goes, who is being judged by it comes again. */
  secretChanged(): void {
    if (this.principal?.kind === "secret") this.close(4001, "gateway auth changed");
    else if (this.principal === undefined && this.#hasPresented) this.close(1012, "gateway auth changed");
  }

  /**
   * Ends the connection because its authority ended: nothing more is dispatched, answered or told, requests in work are
   * aborted. The request with the signal `last` still gets its answer, as the last frame before the close.
   */
  expel(reason: string, last?: AbortSignal): void {
    if (this.#isExpelled) return;
    this.#isExpelled = true;
    this.#step({ kind: "gone" });
    this.#deps.nodes.closed(this.connId);
    const close = (): void => this.close(4001, reason);
    if (last === undefined || this.#session === undefined) {
      close();
      this.#session?.requests.end();
    } else this.#session.requests.endAfter(last, close);
  }

  /** Requests that were begun and are not done yet: each may still write, also after `expel`. */
  get unsettled(): ReadonlyMap<AbortSignal, Promise<void>> {
    return this.#session?.requests.unsettled ?? new Map();
  }

  /** More bytes came than a socket may send before its hello. */
  refuseOversized(): void {
    this.#step({ kind: "oversized" });
  }

  #challenge(): void {
    const { gatewayKey, clock } = this.#deps;
    const ts = clock.now();
    const signature = gatewayKey.sign(`portreeve-gateway|${this.#nonce}|${ts}`);
    this.#outbound.challenge({ nonce: this.#nonce, ts, gateway: { publicKey: gatewayKey.publicKey, signature } });
  }

  #receive(text: string): void {
    if (this.#session === undefined) return this.#step({ kind: "frame", text });
    this.#settleDelivery("heard");
    this.#session.requests.receive(text);
  }

  #settleDelivery(outcome: keyof Delivery): void {
    const delivery = this.#delivery;
    this.#delivery = undefined;
    delivery?.[outcome]();
  }

  #step(input: HandshakeInput, admitted?: Admitted): void {
    const { next, output } = stepHandshake(this.#handshake, input);
    this.#handshake = next;
    if (next.state === "open" || next.state === "closed") this.#deadline[Symbol.dispose]();
    if (output !== undefined) this.#perform(output, admitted);
  }

  #perform(output: HandshakeOutput, admitted: Admitted | undefined): void {
    switch (output.kind) {
      case "authenticate":
        this.#caps = output.connect.caps ?? [];
        this.#client = output.connect.client;
        this.#claim = output.connect.device && { deviceId: output.connect.device.id, role: output.role };
        return background(this.#deps.log, "authenticate connection", this.#authenticate(output));
      case "welcome":
        return admitted === undefined ? undefined : this.#welcome(output, admitted);
      case "refuse": {
        const version = wireVersions[output.version];
        this.#deps.log.debug({ connId: this.connId, peer: this.#peer.address, code: output.error.code }, "connection refused");
        this.#deps.countRefusal(toRefusal(output.error, this.#peer.address));
        this.#outbound.refuse(output.requestId, version.error(output.error));
        return this.close(output.closeCode, version.closeReason(output.error));
      }
      case "close":
        if (output.reason !== "") this.#deps.countRefusal({ ...atDoor(this.#peer.address), rule: "INVALID_HANDSHAKE" });
        return this.close(output.code, output.reason);
    }
  }

  async #authenticate({ connect, role }: Extract<HandshakeOutput, { kind: "authenticate" }>): Promise<void> {
    const { pairing, hello, log, gatewayKey } = this.#deps;
    const peer = { ...this.#peer, hasOrigin: this.#hasOrigin };
    const gone = new AbortController();
    void this.#gone.promise.then(() => gone.abort());
    try {
      // Looks at the secret before it first waits: from here on a change of it matters to this connection.
      const proof = { nonce: this.#nonce, gatewayKey: gatewayKey.publicKey };
      const judging = pairing.authenticate({ connect, role, ...proof, peer, signal: gone.signal });
      this.#hasPresented = true;
      const verdict = await judging;
      if (verdict.kind === "refused") return this.#step(verdict);
      this.#delivery = verdict.admission.delivery;
      if (gone.signal.aborted) this.#settleDelivery("lost");
      const facts = await hello(this.connId, verdict.admission);
      const problem = this.#events.problemWith(verdict.admission.principal);
      if (problem !== undefined) return this.#step({ kind: "refused", error: problem });
      this.#step({ kind: "admitted" }, { connect, hello: facts });
    } catch (error) {
      if (!(error instanceof ProtocolError)) log.error({ err: error, connId: this.connId }, "a handshake failed");
      this.#step({ kind: "refused", error: error instanceof ProtocolError ? error : new ProtocolError("INTERNAL", "internal error") });
    }
  }

  #welcome({ requestId, version: protocol, queued }: Extract<HandshakeOutput, { kind: "welcome" }>, { connect, hello }: Admitted): void {
    const { dispatch, log, clock } = this.#deps;
    const version = wireVersions[protocol];
    const { principal, endsInMs } = hello.admission;
    const endsAtMs = endsInMs === undefined ? undefined : clock.now() + endsInMs;
    const endAuthority = (): void => this.expel("elevation ended");
    if (endsAtMs !== undefined) this.#authorityEnd = clock.schedule(endsAtMs, endAuthority);
    const pause = (): void => this.#socket.pause();
    const resume = (): void => this.#socket.resume();
    // The timer may come late; a request never does.
    const checkAuthority = (): void => (endsAtMs !== undefined && clock.now() >= endsAtMs ? endAuthority() : undefined);
    const requests = new Requests({
      checkAuthority,
      dispatch,
      log,
      principal,
      version,
      outbound: this.#outbound,
      handle: this,
      pause,
      resume,
      caughtUp: () => void (this.#awaitsPong = false),
    });
    this.#session = { principal, version, requests };
    this.#outbound.answer(requestId, version.hello(hello));
    this.#events.onOpen(this);
    if (principal.kind === "device" && principal.role === "node") this.#openNode(principal.deviceId, connect);
    this.sendEvent({
      name: "health",
      payloadJson: JSON.stringify(version.event("health", hello.health)),
      droppable: true,
      stateVersion: { presence: hello.presenceVersion, health: hello.healthVersion },
    });
    for (const text of queued) requests.receive(text);
  }

  /** Events to a node are not numbered: they are no part of what every connection hears. */
  #openNode(nodeId: string, connect: ConnectParams): void {
    this.#deps.nodes.opened({
      connId: this.connId,
      nodeId,
      declared: toDeclaration(nodeId, connect),
      openedAtMs: this.#deps.clock.now(),
      tell: (name, payload) => this.#outbound.direct(name, this.#session?.version.event(name, payload)),
    });
  }

  #onClose(code: number): void {
    // Whoever closes in order, after a hello, has read it.
    this.#settleDelivery(this.#session === undefined || code === broken ? "lost" : "heard");
    this.#step({ kind: "gone" });
    this.#authorityEnd?.[Symbol.dispose]();
    this.#session?.requests.end();
    this.#deps.nodes.closed(this.connId);
    this.#events.onClosed(this);
    this.#gone.resolve();
  }

  /** Answered here and not by the library, which would buffer answers for a peer that never reads. */
  #pong(data: Buffer): void {
    if (this.#socket.bufferedAmount > limits.maxBufferedBytes) return this.close(1008, "slow consumer");
    this.#socket.pong(data);
  }
}
