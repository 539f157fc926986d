import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { createSelfSigned } from "../kit/self-signed.ts";
import { httpFetch } from "./http-fetch.ts";
import { ModelError } from "./model.ts";

interface Host extends AsyncDisposable {
  readonly url: string;
  /** How many connections it has had. */
  readonly connections: number;
}

async function listen(server: Server & { closeAllConnections(): void }, scheme: "http" | "https" = "http"): Promise<Host> {
  let connections = 0;
  server.on("connection", () => (connections += 1));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://127.0.0.1:${port}/v1/x?y=1`,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

function serve(listener: RequestListener): Promise<Host> {
  return listen(createServer(listener));
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  return (await Array.fromAsync(incoming.setEncoding("utf8"), String)).join("");
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => error,
  );
}

/** An answer that has begun, and what the server knows of its end. */
function beginning(): { readonly listener: RequestListener; readonly response: Promise<ServerResponse>; readonly closed: Promise<void> } {
  const begun = Promise.withResolvers<ServerResponse>();
  const closed = Promise.withResolvers<void>();
  const listener: RequestListener = (_incoming, response) => {
    response.once("close", () => closed.resolve());
    response.writeHead(200).write("first ");
    begun.resolve(response);
  };
  return { listener, response: begun.promise, closed: closed.promise };
}

test("a text goes out with its headers, and the answer comes back with its own", async () => {
  const seen: unknown[] = [];
  await using host = await serve((incoming, response) => {
    void textOf(incoming).then((body) => {
      const { authorization, "content-length": length, "accept-encoding": encoding } = incoming.headers;
      seen.push([incoming.method, incoming.url, authorization, length, encoding, body]);
      response.writeHead(418, "No coffee", { "x-one": "1", "set-cookie": ["a", "b"] }).end("größer ☃");
    });
  });

  const response = await httpFetch(host.url, { method: "POST", headers: { Authorization: "Bearer k" }, body: "für ☃" });

  assert.deepEqual([response.ok, response.status, response.statusText, response.headers.get("x-one")], [false, 418, "No coffee", "1"]);
  assert.equal(await response.text(), "größer ☃");
  assert.deepEqual(seen, [["POST", "/v1/x?y=1", "Bearer k", "8", "identity", "für ☃"]]);
});

test("a redirect is an answer like any other", async () => {
  await using host = await serve((_incoming, response) => response.writeHead(307, { location: "http://127.0.0.1:1/" }).end());

  const response = await httpFetch(host.url, { method: "POST", body: "{}" });

  assert.deepEqual([response.status, response.headers.get("location")], [307, "http://127.0.0.1:1/"]);
});

for (const status of [204, 205, 304]) {
  test(`an answer ${status} has no body, and leaves its connection to the next call`, async () => {
    await using host = await serve((_incoming, response) => response.writeHead(status).end());

    const response = await httpFetch(host.url);
    await new Promise(setImmediate);
    await httpFetch(host.url);

    assert.deepEqual([response.status, response.body, host.connections], [status, null, 1]);
  });
}

test("calls one after the other take one connection", async () => {
  await using host = await serve((incoming, response) => incoming.resume().once("end", () => response.end("ok")));

  for (let call = 0; call < 3; call += 1) await (await httpFetch(host.url, { method: "POST", body: "{}" })).text();

  assert.equal(host.connections, 1);
});

test("an answer is read while it comes", async () => {
  const { listener, response } = beginning();
  await using host = await serve(listener);

  const reader = (await httpFetch(host.url)).body?.getReader();
  const first = await reader?.read();
  (await response).end("last");
  const last = await reader?.read();

  assert.deepEqual(
    [first, last].map((piece) => Buffer.from(piece?.value ?? []).toString()),
    ["first ", "last"],
  );
  assert.equal((await reader?.read())?.done, true);
});

test("who sends faster than anybody reads has to wait, and nothing is lost", async () => {
  const piece = Buffer.from(`${"x".repeat(65_534)}\n\n`);
  const pieces = 1_000;
  let sent = 0;
  await using host = await serve((_incoming, response) => {
    response.writeHead(200, { connection: "close" });
    const send = (): void => {
      while (sent < pieces) {
        sent += 1;
        if (!response.write(piece)) return void response.once("drain", send);
      }
      response.end();
    };
    send();
  });

  const response = await httpFetch(host.url);
  // Until the server has not got on for many turns of the event loop, in which it could.
  for (let before = -1; before !== sent;) {
    before = sent;
    for (let turn = 0; turn < 200; turn += 1) await new Promise(setImmediate);
  }
  const sentUnread = sent;
  let received = 0;
  for await (const part of response.body ?? []) received += part.byteLength;

  // What was sent and not read lay in the buffers of two sockets and in ours: far from all of it.
  assert.ok(sentUnread < pieces / 2, `${sentUnread} of ${pieces} pieces were taken before anybody read`);
  assert.equal(received, pieces * piece.byteLength);
});

/** Sends `piece` until whoever asked goes. */
function endless(status: number, piece: string): { readonly listener: RequestListener; readonly closed: Promise<void> } {
  const closed = Promise.withResolvers<void>();
  const listener: RequestListener = (_incoming, response) => {
    response.once("close", () => closed.resolve());
    response.writeHead(status);
    const send = (): void => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once("drain", send);
    };
    send();
  };
  return { listener, closed: closed.promise };
}

for (const [what, piece] of [
  ["line", "x".repeat(65_536)],
  ["event", `data: ${"x".repeat(65_530)}\n`],
] as const) {
  test(`a ${what} without end fails the reading by name, and closes the connection`, { timeout: 60_000 }, async () => {
    const { listener, closed } = endless(200, piece);
    await using host = await serve(listener);

    const error = await failureOf((await httpFetch(host.url)).text());

    assert.ok(error instanceof ModelError);
    assert.deepEqual([error.kind, error.retryable], ["incomplete", false]);
    await closed;
  });
}

test("any number of events that end is read", async () => {
  const event = `data: ${"x".repeat(65_000)}\r\n\r\n`;
  await using host = await serve((_incoming, response) => response.end(event.repeat(300)));

  const text = await (await httpFetch(host.url)).text();

  assert.equal(text.length, 300 * event.length);
});

test("of the body of an error so much is read and no more", { timeout: 60_000 }, async () => {
  const { listener, closed } = endless(503, "no\n\n".repeat(10_000));
  await using host = await serve(listener);

  const response = await httpFetch(host.url);

  assert.deepEqual([response.status, (await response.text()).length], [503, 1_048_576]);
  await closed;
});

test("nobody at the address is what fetch says of it, with the system's code", async () => {
  const host = await serve(() => undefined);
  await host[Symbol.asyncDispose]();

  const error = await failureOf(httpFetch(host.url));

  assert.ok(error instanceof TypeError && error.message === "fetch failed");
  assert.ok(error.cause instanceof Error && "code" in error.cause && error.cause.code === "ECONNREFUSED");
});

for (const [name, begin] of [
  ["closes", (socket) => socket.destroy()],
  ["says what is no HTTP", (socket) => socket.end("hello\r\n\r\n")],
  ["changes the protocol", (socket) => socket.write("HTTP/1.1 101 Other\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")],
  ["answers with no status there is", (socket) => socket.end("HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n")],
] satisfies readonly (readonly [string, (socket: Socket) => unknown])[]) {
  test(`a server that ${name} before the answer is a failure`, async () => {
    await using host = await serve((incoming) => begin(incoming.socket));

    const error = await failureOf(httpFetch(host.url));

    assert.ok(error instanceof TypeError && error.message === "fetch failed" && error.cause instanceof Error);
  });
}

test("a connection that breaks in the middle fails the reading after what came", async () => {
  const { listener, response } = beginning();
  await using host = await serve(listener);

  const reader = (await httpFetch(host.url)).body?.getReader();
  const first = await reader?.read();
  (await response).destroy();
  const error = await failureOf(reader?.read() ?? Promise.resolve());

  assert.equal(Buffer.from(first?.value ?? []).toString(), "first ");
  assert.ok(error instanceof TypeError && error.message === "terminated");
});

test("an abort before the call sends nothing", async () => {
  await using host = await serve((_incoming, response) => response.end());

  const error = await failureOf(httpFetch(host.url, { signal: AbortSignal.abort("enough") }));

  assert.equal(error, "enough");
  assert.equal(host.connections, 0);
});

test("an abort before the answer fails with its reason and closes the connection", async () => {
  const asked = Promise.withResolvers<ServerResponse>();
  await using host = await serve((_incoming, response) => asked.resolve(response));
  const stop = new AbortController();

  const failing = failureOf(httpFetch(host.url, { signal: stop.signal }));
  const closed = once(await asked.promise, "close");
  stop.abort("enough");

  assert.equal(await failing, "enough");
  await closed;
});

test("an abort in the middle fails the reading with its reason and closes the connection", async () => {
  const { listener, closed } = beginning();
  await using host = await serve(listener);
  const stop = new AbortController();

  const reader = (await httpFetch(host.url, { signal: stop.signal })).body?.getReader();
  await reader?.read();
  const failing = failureOf(reader?.read() ?? Promise.resolve());
  stop.abort("enough");

  assert.equal(await failing, "enough");
  await closed;
});

test("a reader that leaves closes the connection", async () => {
  const { listener, closed } = beginning();
  await using host = await serve(listener);

  const response = await httpFetch(host.url);
  await response.body?.cancel();

  await closed;
});

test("a reader may leave at any moment, also when all of a short answer has come", async () => {
  await using host = await serve((_incoming, response) => response.end("short"));

  for (let turns = 0; turns < 20; turns += 1) {
    const response = await httpFetch(host.url);
    for (let turn = 0; turn < turns; turn += 1) await (turns % 2 === 0 ? new Promise(setImmediate) : new Promise(process.nextTick));
    await response.body?.cancel();
  }

  assert.equal(await (await httpFetch(host.url)).text(), "short");
});

test("an answer that is compressed all the same is refused by name", async () => {
  await using host = await serve((_incoming, response) => response.writeHead(200, { "content-encoding": "br" }).end("?"));

  const error = await failureOf(httpFetch(host.url));

  assert.ok(error instanceof TypeError && error.cause instanceof Error);
  assert.match(error.cause.message, /compressed \(br\)/);
});

test("what is no text is not sent", async () => {
  for (const refused of [
    httpFetch(new Request("http://127.0.0.1:1/")),
    httpFetch("http://127.0.0.1:1/", { method: "POST", body: new FormData() }),
  ])
    assert.match(String(await failureOf(refused)), /only a text is sent/);
});

test("a certificate that nobody vouches for is refused", async () => {
  const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const [notBefore, notAfter] = [new Date(Date.now() - 1_000), new Date(Date.now() + 3_600_000)];
  const cert = createSelfSigned({ key, names: ["127.0.0.1"], notBefore, notAfter, serial: randomBytes(16) });
  const server = createSecureServer({ key: key.export({ type: "pkcs8", format: "pem" }), cert }, (_incoming, response) => response.end());
  await using host = await listen(server, "https");

  const error = await failureOf(httpFetch(host.url));

  assert.ok(error instanceof TypeError && error.cause instanceof Error && "code" in error.cause);
  assert.equal(error.cause.code, "DEPTH_ZERO_SELF_SIGNED_CERT");
});

test("a proxy of the environment is asked, as Node's own clients do", async () => {
  const asked: unknown[] = [];
  await using proxy = await serve((incoming, response) => {
    asked.push(incoming.url);
    response.end("by the proxy");
  });
  const call = `const { httpFetch } = await import(${JSON.stringify(import.meta.resolve("./http-fetch.ts"))});
    console.log(await (await httpFetch("http://models.invalid/v1/x")).text());`;
  const env = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: new URL(proxy.url).origin };

  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", call], { env });

  assert.deepEqual([stdout, asked], ["by the proxy\n", ["http://models.invalid/v1/x"]]);
});
