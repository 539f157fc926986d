/** A gateway process like `gateway run --json --port 0`, with a tool that runs a program and one that this one starts. */
import { z } from "zod";
import { findHome } from "../packages/gateway/src/kit/home.ts";
import { runGateway } from "../packages/gateway/src/main.ts";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";

const program = defineTool({
  name: "program",
  description: "Runs until it is stopped.",
  parameters: z.strictObject({ mark: z.string() }),
  repeat: "safe",
  async execute({ mark }, { runProgram }) {
    await runProgram({ file: "/bin/sh", args: ["-c", `sleep 86400 & sleep 86400; : ${mark}`] });
    return { text: "it ended" };
  },
});

const ended = Promise.withResolvers<void>();
process.once("SIGTERM", () => ended.resolve());
await using gateway = await runGateway({ ...findHome(process.env), port: 0, env: {}, logLevel: "warn", tools: [program] });
process.stdout.write(`${JSON.stringify({ url: gateway.url })}\n`);
await ended.promise;
