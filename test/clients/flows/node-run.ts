/** `openclaw node run`: a machine whose programs an operator may call, once its commands are approved. */
import { equal, match, ok } from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connectWire } from "../../support/wire-client.ts";
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
    // The other one runs no program that is not on a list of its own.
    ...(generation === 4 ? [flow("system.run ends when its caller goes away", leaveProgram)] : []),
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

async function leaveProgram(rig: Rig, nodeId: string): Promise<void> {
  const started = join(await rig.folder(), "started");
  await using caller = await connectWire(rig.gateway.url, { token: rig.gateway.token, scopes: ["operator.admin"] });
  const params = { command: ["sh", "-c", `echo $$ > '${started}.part' && mv '${started}.part' '${started}' && exec sleep 600`] };
  const ask = { nodeId, command: "system.run", params, timeoutMs: 600_000, idempotencyKey: randomUUID() };
  caller.send({ type: "req", id: "left", method: "node.invoke", params: ask });
  const pid = Number(await readWhenThere(rig, started));

  await caller[Symbol.asyncDispose]();
  await untilGone(rig, pid);
}

/** Each look is preceded by a call: of what the node does the gateway tells nothing. */
async function readWhenThere(rig: Rig, file: string): Promise<string> {
  await rig.call("health");
  const text = await readFile(file, "utf8").catch(() => undefined);
  return text ?? (await readWhenThere(rig, file));
}

async function untilGone(rig: Rig, pid: number): Promise<void> {
  await rig.call("health");
  try {
    process.kill(pid, 0);
  } catch {
    return;
  }
  await untilGone(rig, pid);
}

async function refuseCommand(rig: Rig, nodeId: string): Promise<void> {
  const refusal: unknown = await rig
    .call("node.invoke", { nodeId, command: "camera.snap", params: {}, idempotencyKey: randomUUID() })
    .catch((error: unknown) => error);

  match(String(refusal), /camera\.snap/);
}
