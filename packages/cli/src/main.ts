/** The command line's entry. A version costs nothing but this file; everything else is loaded when it is asked for. */
import manifest from "../package.json" with { type: "json" };

const args = process.argv.slice(2);

if (args[0] === "--version" || args[0] === "-V") {
  process.stdout.write(`${manifest.version}\n`);
} else {
  const { runProcess } = await import("./program.ts");
  await runProcess(args);
}
