/**
 * Node pairing: a node is paired as a device first; what it says it can do is approved apart from that, and again when it
 * says more. What is not approved is not live.
 */
import { type ConnectParams, maxCaps, maxCommands, ProtocolError, scopesToApproveNode } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import type { Principal } from "../principal/principal.ts";
import type { AskOutcome, NodeAsk, NodeDeclaration, NodeRecord, NodeRequestRecord, NodeStore } from "../store/nodes.ts";
import { actionDenied, type AskedBy, type ExpelDevice, missingScope, toActor, unknownRequest } from "./device-management.ts";
import { toNodeRequest } from "./node-view.ts";

export interface NodePairing {
  /** What a node that was let in says it can do. */
  declare(nodeId: string, connect: ConnectParams): Promise<void>;
  /**
   * An operator asks that more of a paired node be approved: what waits and what is approved is added to, never taken from.
   * @throws ProtocolError UNKNOWN_DEVICE, DEVICE_ACTION_DENIED, INVALID_PARAMS when it is more than a node may declare.
   */
  ask(ask: NodeAsk, by: Principal): Promise<Extract<AskOutcome, { kind: "covered" | "pending" }>>;
  list(viewer: Principal): Promise<{ readonly pending: readonly NodeRequestRecord[]; readonly paired: readonly NodeRecord[] }>;
  /** @throws ProtocolError UNKNOWN_REQUEST, DEVICE_ACTION_DENIED, or MISSING_SCOPE when its commands need more than the approver holds. */
  approve(requestId: string, approver: Principal): Promise<NodeRecord>;
  /** @throws ProtocolError UNKNOWN_REQUEST, DEVICE_ACTION_DENIED */
  reject(requestId: string, rejecter: Principal): Promise<{ readonly nodeId: string }>;
  /** @throws ProtocolError UNKNOWN_DEVICE, DEVICE_ACTION_DENIED */
  remove(nodeId: string, by: Principal, asked: AskedBy): Promise<void>;
}

export interface NodePairingDeps {
  readonly store: NodeStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly bus: Bus;
  readonly expel: ExpelDevice;
}

export function createNodePairing({ store, clock, log, bus, expel }: NodePairingDeps): NodePairing {
  const resolved = (requestId: string, nodeId: string, decision: "approved" | "rejected" | "removed"): void => {
    log.info({ requestId, nodeId, decision }, "node request decided");
    bus.publish("node.pair.resolved", { requestId, nodeId, decision, ts: clock.now() });
  };
  const requested = (request: NodeRequestRecord, askedBy: string): void => {
    const { requestId, nodeId, commands, caps } = request;
    log.warn({ requestId, nodeId, commands, caps, askedBy }, "a node's commands wait for an approval");
    bus.publish("node.pair.requested", toNodeRequest(request));
  };
  return {
    async declare(nodeId, connect) {
      const outcome = await store.declare(toDeclaration(nodeId, connect), clock.now());
      if (outcome.resolved !== undefined) resolved(outcome.resolved, nodeId, "rejected");
      if (outcome.kind === "pending" && outcome.created) requested(outcome.request, `device:${nodeId}`);
    },
    async ask(ask, by) {
      const outcome = await store.ask(ask, toActor(by), clock.now());
      if (outcome.kind === "denied") throw actionDenied("node pairing request denied");
      if (outcome.kind === "unknown") throw unknownNode();
      if (outcome.kind === "too-much") throw tooMuch();
      if (outcome.kind === "covered") return outcome;
      if (outcome.resolved !== undefined) resolved(outcome.resolved, ask.nodeId, "rejected");
      if (outcome.created) requested(outcome.request, by.id);
      return outcome;
    },
    async list(viewer) {
      const { pending, paired } = await store.list();
      const { ownDeviceOnly, deviceId } = toActor(viewer);
      const isSeen = ({ nodeId }: { readonly nodeId: string }): boolean => !ownDeviceOnly || nodeId === deviceId;
      return { pending: pending.filter(isSeen), paired: paired.filter(isSeen) };
    },
    async approve(requestId, approver) {
      const outcome = await store.approve(requestId, { ...toActor(approver), needs: scopesToApproveNode }, clock.now());
      if (outcome.kind === "unknown") throw unknownRequest(requestId);
      if (outcome.kind === "denied") throw actionDenied("node pairing approval denied");
      if (outcome.kind === "exceeds-approver") throw missingScope(outcome.scope);
      resolved(requestId, outcome.node.nodeId, "approved");
      return outcome.node;
    },
    async reject(requestId, rejecter) {
      const outcome = await store.reject(requestId, toActor(rejecter), clock.now());
      if (outcome.kind === "unknown") throw unknownRequest(requestId);
      if (outcome.kind === "denied") throw actionDenied("node pairing rejection denied");
      resolved(requestId, outcome.nodeId, "rejected");
      return { nodeId: outcome.nodeId };
    },
    async remove(nodeId, by, asked) {
      const outcome = await store.remove(nodeId, toActor(by), clock.now());
      if (outcome.kind === "denied") throw actionDenied("node removal denied");
      if (outcome.kind === "unknown") throw unknownNode();
      await expel({ deviceId: nodeId, role: "node" }, asked);
      resolved(outcome.requestId ?? `removed:${nodeId}`, nodeId, "removed");
    },
  };
}

/** Sorted, so that the same declaration reads the same. */
export function toDeclaration(nodeId: string, { client, caps = [], commands = [], permissions = {} }: ConnectParams): NodeDeclaration {
  return {
    nodeId,
    clientId: client.id,
    clientMode: client.mode,
    displayName: client.displayName,
    platform: client.platform,
    version: client.version,
    deviceFamily: client.deviceFamily,
    modelIdentifier: client.modelIdentifier,
    caps: [...new Set(caps)].toSorted(),
    commands: [...new Set(commands)].toSorted(),
    permissions: Object.fromEntries(Object.entries(permissions).toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
}

function tooMuch(): ProtocolError {
  return new ProtocolError("INVALID_PARAMS", `a node has at most ${maxCaps} caps and ${maxCommands} commands, what waits included`, {
    remedy: "Ask for fewer, or decide first about what waits: ./portreeve nodes list",
  });
}

export function unknownNode(): ProtocolError {
  return new ProtocolError("UNKNOWN_DEVICE", "unknown nodeId", { remedy: "List the nodes with: ./portreeve nodes list" });
}
