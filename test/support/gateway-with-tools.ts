/** A gateway process like `gateway run --json --port 0`, with two tools that leave a trace of every time they ran, and one that kills it. */
import { appendFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { z } from "zod";
import { findHome } from "../../packages/gateway/src/kit/home.ts";
import { runGateway } from "../../packages/gateway/src/main.ts";
import { defineTool, type Tool } from "../../packages/gateway/src/tools/tool.ts";

const home = findHome(process.env);

function countingTool(name: string, repeat: "ask" | "safe"): Tool {
  return defineTool({
    name,
    description: "Leaves its token in effects.log.",
    parameters: z.strictObject({ token: z.string() }),
    repeat,
    execute({ token }) {
      appendFileSync(join(home.stateDir, "..", "effects.log"), `${name} ${token}\n`);
      return Promise.resolve({ text: `${name} ${token} done` });
    },
  });
}

/** What no gateway survives, as a program that takes all memory. */
const deadlyTool = defineTool({
  name: "die",
  description: "Kills the gateway.",
  parameters: z.strictObject({}),
  repeat: "safe",
  execute() {
    process.kill(process.pid, "SIGKILL");
    return Promise.withResolvers<never>().promise;
  },
});

const ended = Promise.withResolvers<void>();
process.once("SIGTERM", () => ended.resolve());
await using gateway = await runGateway({
  ...home,
  port: 0,
  env: {},
  logLevel: "warn",
  tools: [countingTool("charge", "ask"), countingTool("look", "safe"), deadlyTool],
});
// Written at an exit otherwise, and this process is more often killed.
flushCompileCache();
process.stdout.write(`${JSON.stringify({ url: gateway.url })}\n`);
await ended.promise;
