/** The nodes that are there: who is connected, what of each is live, and what is in work on them. */
import type { NodeRow, Result } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { NodeLinks } from "../identity/node-link.ts";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import { background, type Log } from "../kit/log.ts";
import type { Principal } from "../principal/principal.ts";
import type { NodeWorkStore } from "../store/node-work.ts";
import type { NodeStore } from "../store/nodes.ts";
import { type Answerer, Invocations } from "./invocations.ts";
import { type Ask, hearAnswer, invokeNode, type NodeResult } from "./invoking.ts";
import { KeptAnswers } from "./kept-answers.ts";
import { joinNodes, toNodeRow } from "./node-rows.ts";
import { NodeSockets } from "./node-sockets.ts";

export interface Nodes extends Disposable {
  readonly links: NodeLinks;
  list(): Promise<readonly NodeRow[]>;
  find(nodeId: string): Promise<NodeRow | undefined>;
  /** @throws ProtocolError for every way in which there is no answer. */
  invoke(principal: Principal, ask: Ask): Promise<Result<"node.invoke">>;
  /** Whether the answer was to something that this connection was asked, and still open. */
  hearAnswer(by: Answerer, result: NodeResult): Promise<boolean>;
  /** Whether the connection has this invocation in work. */
  hasInWork(by: Answerer, invokeId: string): boolean;
}

export interface NodesDeps {
  readonly store: { readonly nodes: NodeStore; readonly nodeWork: NodeWorkStore };
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
}

export function createNodes({ store, bus, clock, ids, log }: NodesDeps): Nodes {
  const invocations = new Invocations(clock);
  const sockets = new NodeSockets((connId) => invocations.endConnection(connId));
  const invoking = { nodes: store.nodes, work: store.nodeWork, sockets, invocations, answers: new KeptAnswers(), clock, ids };
  const endUnapproved = async (nodeId: string): Promise<void> => {
    const { approved } = await store.nodes.find(nodeId);
    invocations.endUnapproved(nodeId, approved?.commands ?? []);
  };
  // A lost hint costs time alone: an answer is held to what is approved when it comes.
  const hearing = bus.subscribe("node.pair.resolved", ({ nodeId }) => background(log, "end unapproved invocations", endUnapproved(nodeId)));
  return {
    links: sockets,
    list: async () => joinNodes(await store.nodes.list(), sockets.list()).flatMap((known) => toNodeRow(known) ?? []),
    find: async (nodeId) => toNodeRow({ ...(await store.nodes.find(nodeId)), link: sockets.find(nodeId) }),
    invoke: (principal, ask) => invokeNode(invoking, principal, ask),
    hearAnswer: (by, result) => hearAnswer(invoking, by, result),
    hasInWork: (by, invokeId) => invocations.find(invokeId, by) !== undefined,
    [Symbol.dispose]: () => hearing[Symbol.dispose](),
  };
}
