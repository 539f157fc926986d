/**
 * Ask for work that is split over two sub-agents, and watch who is spawned and what comes back.
 * The line that starts with @script drives the built-in model; a real one follows the sentence before it.
 *
 *   PORTREEVE_TOKEN=$(cat ~/.portreeve/state/secret) node examples/03-subagents.ts
 */
import { randomUUID } from "node:crypto";
import { createDeviceKey, GatewayClient } from "@portreeve/client";

const url = process.env["PORTREEVE_URL"] ?? "ws://127.0.0.1:18789";
const secret = process.env["PORTREEVE_TOKEN"];
if (secret === undefined)
  throw new Error("Set PORTREEVE_TOKEN to the gateway's secret; `./portreeve gateway run` prints where it is kept.");

const child = (label: string, pattern: string): object => ({
  tool: "sessions_spawn",
  args: {
    label,
    task: `Report the lines of the workspace's files with ${pattern}.\n@script ${JSON.stringify([
      { call: [{ tool: "grep", args: { pattern } }] },
      { say: "{{head:1:5}}" },
    ])}`,
  },
});
const script = [
  { call: [child("todos", "TODO"), child("titles", "^# ")] },
  { awaitChildren: true },
  { say: "Both are back:\n\n{{children}}" },
];
const message = [
  "Spawn one sub-agent that looks for TODO in the workspace's files and one that lists their titles;",
  "wait for both with sessions_yield, then sum up in three lines.",
  `\n@script ${JSON.stringify(script)}`,
].join(" ");

using client = await GatewayClient.open({
  url,
  client: { id: "gateway-client", mode: "backend", version: "1.0.0", platform: process.platform },
  device: createDeviceKey(),
  present: () => ({ scopes: ["operator.write"], credential: { kind: "secret", value: secret } }),
  reconnect: false,
});

using _listening = client.on("agent", ({ stream, data }) => {
  if (stream !== "subagent") return;
  const name = data.label ?? data.childSessionKey;
  if (data.phase === "spawned") console.log(`spawned ${name} with ${data.scopes.join(", ")}`);
  else console.log(`${name} came back: ${data.status}`);
});

const { result } = await client.call("agent", { message, idempotencyKey: randomUUID() });
console.log(result.payloads.map(({ text }) => text).join("\n"));

const { children } = await client.call("status", {});
console.log(`sub-agents accepted ${children.accepted}, completed ${children.completed}, announced ${children.announced}`);
