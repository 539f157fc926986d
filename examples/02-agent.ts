/**
 * Run an agent and print its text as it comes.
 *
 *   PORTREEVE_TOKEN=$(cat ~/.portreeve/state/secret) node examples/02-agent.ts "What can you do?"
 */
import { randomUUID } from "node:crypto";
import { createDeviceKey, GatewayClient, leastScopes } from "@portreeve/client";

const url = process.env["PORTREEVE_URL"] ?? "ws://127.0.0.1:18789";
const secret = process.env["PORTREEVE_TOKEN"];
if (secret === undefined)
  throw new Error("Set PORTREEVE_TOKEN to the gateway's secret; `./portreeve gateway run` prints where it is kept.");
const message = process.argv[2] ?? "Hello!";

using client = await GatewayClient.open({
  url,
  client: { id: "gateway-client", mode: "backend", version: "1.0.0", platform: process.platform },
  device: createDeviceKey(),
  present: () => ({ scopes: leastScopes("agent", { message }), credential: { kind: "secret", value: secret } }),
  reconnect: false,
});

// The run's id is the caller's own key: the same key again gives the same run, never a second one.
const runId = randomUUID();
using _listening = client.on("chat", (event) => {
  if (event.runId === runId && event.state === "delta") process.stdout.write(event.deltaText);
});

const { status, result } = await client.call(
  "agent",
  { message, idempotencyKey: runId },
  { onAccepted: ({ sessionKey }) => console.log(`accepted in ${sessionKey}`) },
);

console.log(
  `\n${status}: ${result.meta.agentMeta.usage.totalTokens} tokens of ${result.meta.agentMeta.provider}/${result.meta.agentMeta.model}`,
);
