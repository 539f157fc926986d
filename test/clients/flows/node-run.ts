/** `openclaw node run`: a machine whose programs an operator may call, once its commands are approved. */
import { equal, match, ok } from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type Flow, passed, type Passed } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { openOpenclawHome } from "../openclaw-home.ts";
import { startProcess, type RunningProcess } from "../process.ts";
import type { Rig } from "../rig.ts";

export function nodeRunFlows(generation: Generation, version: string): readonly Flow[] {
  const flow = (name: string, act: (rig: Rig, nodeId: string, host: RunningProcess) => Promise<void>): Flow => ({
    client: "openclaw node run",
    version,
    name,
    run: async (rig): Promise<Passed> => {
      const displayName = randomUUID();
      await using host = await startHost(rig, generation, displayName);
      const { requestId, nodeId } = await waitForRequest(rig, displayName, host);
      await rig.call("node.pair.approve", { requestId });
      await act(rig, nodeId, host);
      return passed;
    },
  });
  return [
    flow("connect, approval, node.list", listNode),
    flow("node.invoke of an approved command", invokeCommand),
    flow("node.invoke of another command is refused", refuseCommand),
  ];
}

async function startHost(rig: Rig, generation: Generation, displayName: string): Promise<RunningProcess> {
  const home = await openOpenclawHome(rig, generation);
  const { file, args } = home.command("node", "run", "--host", "127.0.0.1", "--port", String(rig.port), "--display-name", displayName);
  return startProcess(file, args, { env: { ...home.env, OPENCLAW_GATEWAY_TOKEN: rig.gateway.token }, cwd: home.folder });
}

interface NodeRequest {
  readonly requestId: string;
  readonly nodeId: string;
  readonly displayName?: string;
}

/** Asked for again and again: the host says nothing when it has connected. */
async function waitForRequest(rig: Rig, displayName: string, host: RunningProcess): Promise<NodeRequest> {
  const { pending } = await rig.call<{ pending: readonly NodeRequest[] }>("node.pair.list");
  const request = pending.find((one) => one.displayName === displayName);
  if (request !== undefined) return request;
  const hasEnded = await Promise.race([host.ended.then(() => true), Promise.resolve(false)]);
  if (hasEnded) throw new Error(`the host ended:\n${host.said}`);
  return await waitForRequest(rig, displayName, host);
}

interface NodeView {
  readonly nodeId: string;
  readonly connected: boolean;
  readonly paired: boolean;
  readonly commands: readonly string[];
}

async function listNode(rig: Rig, nodeId: string): Promise<void> {
  const { nodes } = await rig.call<{ nodes: readonly NodeView[] }>("node.list");
  const node = nodes.find((one) => one.nodeId === nodeId);

  ok(node?.connected === true && node.paired);
  ok(node.commands.includes("system.which"));
}

async function invokeCommand(rig: Rig, nodeId: string): Promise<void> {
  const answer = await rig.call<{ ok: boolean; payload: unknown }>("node.invoke", {
    nodeId,
    command: "system.which",
    params: { bins: ["sh"] },
    idempotencyKey: randomUUID(),
  });

  equal(answer.ok, true);
  match(JSON.stringify(answer.payload), /\/sh"/);
}

async function refuseCommand(rig: Rig, nodeId: string): Promise<void> {
  const refusal: unknown = await rig
    .call("node.invoke", { nodeId, command: "camera.snap", params: {}, idempotencyKey: randomUUID() })
    .catch((error: unknown) => error);

  match(String(refusal), /camera\.snap/);
}
