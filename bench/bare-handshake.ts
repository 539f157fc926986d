/**
 * The floor for `bench:handshake`: a `ws` server that does the handshake's cryptography and nothing else. It signs a challenge,
 * verifies one device's signature, and answers with as many bytes as a gateway does. Prints its URL.
 */
import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";

const helloBytes = 2_400;

interface Connect {
  readonly id: string;
  readonly params: {
    readonly device: { readonly publicKey: string; readonly signature: string; readonly signedAt: number; readonly id: string };
    readonly scopes: readonly string[];
    readonly auth: { readonly deviceToken: string };
  };
}

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const gatewayKey = publicKey.export({ format: "jwk" }).x;
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false, clientTracking: false });
server.on("connection", (socket) => {
  const nonce = randomUUID();
  const ts = Date.now();
  const signature = sign(null, Buffer.from(`portreeve-gateway|${nonce}|${ts}`), privateKey).toString("base64url");
  const payload = { nonce, ts, gateway: { publicKey: gatewayKey, signature } };
  socket.send(JSON.stringify({ type: "event", event: "connect.challenge", payload }));
  socket.on("message", (data) => {
    const { id, params } = JSON.parse(String(data)) as Connect; // Only this benchmark connects.
    const { device, scopes, auth } = params;
    const text = [
      "v3",
      device.id,
      "test",
      "test",
      "operator",
      scopes.join(","),
      device.signedAt,
      auth.deviceToken,
      nonce,
      "linux",
      "",
    ].join("|");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: device.publicKey }, format: "jwk" });
    const ok = verify(null, Buffer.from(text), key, Buffer.from(device.signature, "base64url"));
    socket.send(JSON.stringify({ type: "res", id, ok, payload: { hello: "x".repeat(helloBytes) } }));
  });
  socket.on("error", () => undefined);
});
await once(server, "listening");
// A listening TCP server has an address of this form.
console.log(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
