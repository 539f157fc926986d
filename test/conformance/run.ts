/**
 * Plays every transcript against a running gateway:
 * `node test/conformance/run.ts --url ws://127.0.0.1:18789 --token SECRET [--protocol 3] [--only chat]`
 */
import { parseArgs } from "node:util";
import { play } from "./player.ts";
import { readTranscripts } from "./transcript.ts";
import { findProblems } from "./their-schema.ts";

const options = { url: { type: "string" }, token: { type: "string" }, protocol: { type: "string" }, only: { type: "string" } } as const;

if (import.meta.main) {
  const { url, token, protocol: version, only } = parseArgs({ options }).values;
  if (url === undefined || token === undefined || !["3", "4", undefined].includes(version)) {
    console.error("usage: node test/conformance/run.ts --url ws://HOST:PORT --token SECRET [--protocol 3|4] [--only NAME]");
    process.exit(2);
  }
  let failed = 0;
  for (const transcript of await readTranscripts()) {
    if (only !== undefined && transcript.name !== only) continue;
    for (const protocol of transcript.protocols) {
      if (version !== undefined && Number(version) !== protocol) continue;
      const problem = await play(transcript, { url, token, protocol }).then(
        (heard) => (protocol === 4 ? findProblems(heard).join("\n  ") : ""),
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      if (problem !== "") failed += 1;
      console.log(
        `${problem === "" ? "ok    " : "FAILED"} ${transcript.name}, protocol ${protocol}${problem === "" ? "" : `\n  ${problem}`}`,
      );
    }
  }
  process.exitCode = failed === 0 ? 0 : 1;
}
