/** Sockets, bytes and requests are bounded before anything is done for them, on this machine too. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createWireKey, openWire, refusedConnect } from "../support/wire-client.ts";
import { advisory, ownerWith, shareGateway } from "./advisory.ts";

const shared = shareGateway();

/** A TCP connection that shows what came back; `ended` resolves when the gateway has closed it. */
async function openTcp(): Promise<{ readonly socket: Socket; readonly said: () => string; readonly ended: Promise<unknown> }> {
  const socket = connect(Number(new URL(shared.gateway.url).port), "127.0.0.1");
  let text = "";
  socket.on("data", (chunk) => (text += String(chunk)));
  socket.on("error", () => undefined);
  const ended = once(socket, "close");
  await once(socket, "connect");
  return { socket, said: () => text, ended };
}

advisory(34, "wrong secrets over a socket are counted: the eleventh is not looked at, nor the right one after it", async () => {
  const { gateway } = shared;
  const guesser = { "x-forwarded-for": "203.0.113.34" };
  const guess = async (token: string): Promise<unknown> => {
    const { error } = await refusedConnect(gateway.url, { key: createWireKey(), token, scopes: [] }, guesser);
    return error.details?.["code"];
  };
  const codes: unknown[] = [];
  for (let index = 0; index < 10; index += 1) codes.push(await guess(`guess ${index}`));

  const after = [await guess("guess 10"), await guess(gateway.token)];

  assert.deepEqual(new Set(codes), new Set(["AUTH_TOKEN_MISMATCH"]));
  assert.deepEqual(after, ["AUTH_RATE_LIMITED", "AUTH_RATE_LIMITED"]);
});

advisory(35, "one peer holds 32 sockets that have not said hello, and the next one is refused before it is a socket", async () => {
  const { gateway } = shared;
  await using served = await ownerWith(gateway, "operator.read");
  const held = await Promise.all(Array.from({ length: 32 }, () => openWire(gateway.url)));

  await assert.rejects(openWire(gateway.url), /HTTP 503/);
  const status = await served.request("status");
  await held[0]?.[Symbol.asyncDispose]();
  await served.request("health");
  await using next = await openWire(gateway.url);
  for (const wire of held.slice(1)) await wire[Symbol.asyncDispose]();

  assert.match(JSON.stringify(status.payload?.["connections"]), /"open":33/);
  assert.notEqual(next.nonce, "");
});

advisory(36, "a malformed upgrade is answered and its socket closed, and holds no place of another", async () => {
  const { gateway } = shared;
  const { host } = new URL(gateway.url);
  const head = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const malformed = [
    `${head}\r\n`,
    `${head}Sec-WebSocket-Version: 13\r\n\r\n`,
    `${head}${key}\r\n`,
    `${head}${key}Sec-WebSocket-Version: 7\r\n\r\n`,
    `${head}Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    `${head.replace("GET", "POST")}${key}Sec-WebSocket-Version: 13\r\n\r\n`,
    `${head}${key}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ,,\r\n\r\n`,
    `${head}Content-Length: 5\r\n\r\nhello`,
    "\0\0\0\0\r\n\r\n",
  ];

  for (let round = 0; round < 8; round += 1) {
    for (const text of malformed) {
      const { socket, said, ended } = await openTcp();
      socket.write(text);
      await ended;
      assert.match(said(), /^HTTP\/1\.1 4\d\d /, JSON.stringify(text));
    }
  }
  await using wire = await ownerWith(gateway, "operator.read");
  const status = await wire.request("status");

  assert.match(JSON.stringify(status.payload?.["connections"]), /"open":1}/);
});

advisory(37, "a body nobody asked for is answered without being read to its end", async () => {
  const { gateway } = shared;
  const { host } = new URL(gateway.url);
  for (const path of ["/health", "/webhook"]) {
    const { socket, said } = await openTcp();
    socket.write(`POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10000000000\r\n\r\n`);
    while (said() === "") {
      if (!socket.write(Buffer.alloc(65_536))) await Promise.race([once(socket, "drain"), once(socket, "data")]);
    }
    socket.destroy();

    assert.match(said(), /^HTTP\/1\.1 40[45] /);
  }
  await using wire = await openWire(gateway.url);
  wire.send("x".repeat(66_000));

  assert.equal((await wire.closed).code, 1009);
});
