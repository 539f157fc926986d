import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { RpcError, rpcCodes, serveRpc } from "./rpc.ts";

interface Said {
  readonly id?: unknown;
  readonly result?: object;
  readonly error?: { readonly code: number; readonly message: string };
}

/** Everything that was said to the lines, by a handler that refuses `no`, fails at `bad` and answers all else. */
async function serve(...lines: readonly string[]): Promise<{ readonly said: readonly Said[]; readonly notified: readonly string[] }> {
  const said: Said[] = [];
  const notified: string[] = [];
  const request = (method: string): Promise<object> => {
    if (method === "no") return Promise.reject(new RpcError(rpcCodes.notFound, "no", { why: "x" }));
    return method === "bad" ? Promise.reject(new Error("secret")) : Promise.resolve({ method });
  };
  const toError = (): RpcError => new RpcError(rpcCodes.internal, "failed");
  const each = async function* () {
    yield* lines;
    // What was asked last is answered in its own time.
    await new Promise(setImmediate);
  };
  await serveRpc(each(), { request, notified: (method) => void notified.push(method), toError }, (line) => {
    assert.ok(!line.includes("\n"));
    said.push(JSON.parse(line) as Said);
  });
  return { said, notified };
}

test("a request is answered under its id, with its result, its refusal, or what may be told of a failure", async () => {
  const ask = (id: unknown, method: string): string => JSON.stringify({ jsonrpc: "2.0", id, method });

  const { said } = await serve(ask(1, "a"), ask("two", "no"), ask(0, "bad"));

  assert.deepEqual(
    said.toSorted((a, b) => String(a.id).localeCompare(String(b.id))),
    [
      { jsonrpc: "2.0", id: 0, error: { code: rpcCodes.internal, message: "failed" } },
      { jsonrpc: "2.0", id: 1, result: { method: "a" } },
      { jsonrpc: "2.0", id: "two", error: { code: rpcCodes.notFound, message: "no", data: { why: "x" } } },
    ],
  );
});

test("a notification is heard and not answered, and neither is an answer that nobody asked for", async () => {
  const { said, notified } = await serve('{"method":"told","params":{}}', '{"id":1,"result":{}}', '{"id":1,"error":{}}', "", "  ");

  assert.deepEqual([said, notified], [[], ["told"]]);
});

test("no line stops the next one from being answered", async () => {
  const part = fc.oneof(fc.jsonValue(), fc.constantFrom("a", "no", 1, null));
  const message = fc.record({ jsonrpc: part, id: part, method: part, params: part, result: part }, { requiredKeys: [] });
  const line = fc.oneof(
    message.map((one) => JSON.stringify(one)),
    fc.json(),
    fc.string().map((text) => text.replaceAll("\n", " ")),
  );

  await fc.assert(
    fc.asyncProperty(line, async (before) => {
      const { said } = await serve(before, '{"jsonrpc":"2.0","id":"last","method":"a"}');

      assert.ok(said.some(({ id, result }) => id === "last" && result !== undefined));
      assert.ok(said.length <= 2);
    }),
    { numRuns: 500 },
  );
});
