/** The ceiling: a `ws` server that sends back what it gets. Prints its URL. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false, clientTracking: false });
server.on("connection", (socket) => {
  socket.on("message", (data) => socket.send(String(data)));
  socket.on("error", () => undefined);
});
await once(server, "listening");
// A listening TCP server has an address of this form.
console.log(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
