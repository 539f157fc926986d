/**
 * Connect to a gateway with a device key and ask how it is.
 *
 *   PORTREEVE_URL=ws://127.0.0.1:18789 PORTREEVE_TOKEN=$(cat ~/.portreeve/state/secret) node examples/01-connect.ts
 */
import { createDeviceKey, GatewayClient } from "@portreeve/client";

const url = process.env["PORTREEVE_URL"] ?? "ws://127.0.0.1:18789";
const secret = process.env["PORTREEVE_TOKEN"];
if (secret === undefined)
  throw new Error("Set PORTREEVE_TOKEN to the gateway's secret; `./portreeve gateway run` prints where it is kept.");

// A new key each time; `openDeviceKey(file)` keeps one. On the gateway's own machine a new device is paired at once.
using client = await GatewayClient.open({
  url,
  client: { id: "gateway-client", mode: "backend", version: "1.0.0", platform: process.platform },
  device: createDeviceKey(),
  present: ({ gatewayKey }) => {
    console.log(`gateway key: ${gatewayKey ?? "not proved"}`);
    return { scopes: ["operator.read"], credential: { kind: "secret", value: secret } };
  },
  reconnect: false,
});

const health = await client.call("health", {});
const { sessions } = await client.call("sessions.list", { limit: 5 });
console.log(`protocol ${client.hello.protocol}, healthy: ${health.ok}, sessions: ${sessions.length}`);
