/** The command line's entry. A version costs nothing but this file; everything else is loaded when it is asked for. */
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import manifest from "../package.json" with { type: "json" };

const args = process.argv.slice(2);

if (args[0] === "--version" || args[0] === "-V") {
  process.stdout.write(`${manifest.version}\n`);
} else {
  // A bundle keeps what compiling it gave in its own folder: whoever can change that can change the code. Without the right to
  // write there it is compiled each time.
  if (import.meta.filename.endsWith(".js")) enableCompileCache(join(import.meta.dirname, ".compiled"));
  const { runProcess } = await import("./program.ts");
  await runProcess(args);
}
