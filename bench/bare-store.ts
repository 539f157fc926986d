/**
 * The floor of whatever is durable: a `ws` server that writes each request into one row and answers when that is committed, all of
 * a turn of the event loop together, with the full durability that the gateway has. Takes the file; prints its URL.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { openDatabase } from "../packages/gateway/src/store/sql/dialect.ts";

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("bare-store.ts takes the name of a file");
const db = openDatabase(file);
db.exec("create table requests (id integer primary key, params text not null)");
const begin = db.prepare("begin immediate");
const insert = db.prepare("insert into requests (params) values (?)");
const commit = db.prepare("commit");

interface Request {
  readonly id: string;
  readonly params: object;
}

let waiting: { readonly request: Request; readonly send: (text: string) => void }[] = [];

function storeAll(): void {
  const taken = waiting;
  waiting = [];
  begin.run();
  for (const { request } of taken) insert.run(JSON.stringify(request.params));
  commit.run();
  for (const { request, send } of taken) send(JSON.stringify({ type: "res", id: request.id, ok: true, payload: {} }));
}

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false, clientTracking: false });
server.on("connection", (socket) => {
  socket.on("message", (data) => {
    if (waiting.length === 0) setImmediate(storeAll);
    // Whoever asks is the benchmark itself.
    waiting.push({ request: JSON.parse(String(data)) as Request, send: (text) => socket.send(text) });
  });
  socket.on("error", () => undefined);
});
await once(server, "listening");
// A listening TCP server has an address of this form.
console.log(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
