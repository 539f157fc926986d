/** A tool that holds a run between two steps until the test lets it go. */
import { z } from "zod";
import { defineTool, type Tool } from "../../packages/gateway/src/tools/tool.ts";

/** A tool that tells when it runs and ends when it is let go. */
export function gate(): { readonly tool: Tool; readonly entered: Promise<void>; readonly open: () => void } {
  const entered = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const tool = defineTool({
    name: "gate",
    description: "Waits.",
    parameters: z.strictObject({}),
    repeat: "safe",
    async execute(_args, { signal }) {
      entered.resolve();
      const { promise: stopped, reject } = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      await Promise.race([opened.promise, stopped]);
      return { text: "open" };
    },
  });
  return { tool, entered: entered.promise, open: opened.resolve };
}
