/** Replies that ask for more than is done at once. */
import assert from "node:assert/strict";
import test from "node:test";
import { z } from "zod";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";

test("of a reply's calls eight run at a time, and the others follow in their order", async () => {
  const begun: number[] = [];
  let running = 0;
  let most = 0;
  const tool = defineTool({
    name: "step",
    description: "Takes a turn of the event loop.",
    parameters: z.strictObject({ index: z.number() }),
    repeat: "safe",
    async execute({ index }) {
      begun.push(index);
      running += 1;
      most = Math.max(most, running);
      await new Promise(setImmediate);
      running -= 1;
      return { text: String(index) };
    },
  });
  await using gw = await startGateway({ tools: [tool] });
  const indices = Array.from({ length: 20 }, (_, index) => index);

  const { result } = await gw.callerWith("operator.write").call("agent", {
    message: script("go", { call: indices.map((index) => ({ tool: "step", args: { index } })) }, { say: "all are done" }),
    idempotencyKey: "k",
  });

  assert.match(result.payloads[0]?.text ?? "", /^all are done/);
  assert.deepEqual([most, begun], [8, indices]);
});
