/** The one run that a person means by the end or the beginning of its id, its wire id, its name, or the session whose newest it is. */
import type { GatewayClient } from "@portreeve/client";
import type { RunRow } from "@portreeve/protocol/wire";
import { CliError } from "../exit.ts";
import { tellRun } from "./show.ts";

/** As far back as a shortened id is looked for. */
const searched = 500;
const shortest = 4;

/** The id to ask the gateway for. @throws CliError when it may mean several runs. */
export async function findRunId(client: GatewayClient, text: string): Promise<string> {
  if (/^run_[0-9a-f]{33}$/.test(text)) return text;
  const { runs } = await client.call("runs.list", { limit: searched });
  return chooseRun(runs, text);
}

/** What no recent run is called is left to the gateway, which knows the older ones by their whole id. Pure. */
export function chooseRun(runs: readonly RunRow[], text: string): string {
  const fits = ({ runId, wireId, taskName, label }: RunRow): boolean =>
    wireId === text || taskName === text || label === text || (text.length >= shortest && (runId.endsWith(text) || runId.startsWith(text)));
  const [first, ...others] = runs.filter(fits);
  if (first === undefined) return runs.find(({ sessionKey }) => [sessionKey, nameOfSession(sessionKey)].includes(text))?.runId ?? text;
  if (others.length === 0) return first.runId;
  const candidates = [first, ...others].map((run) => `  ${run.runId}  ${tellRun(run)}`);
  throw new CliError("usage", `${candidates.length} runs are called ${text}:\n${candidates.join("\n")}`, { remedy: "Give the whole id." });
}

/** `main` of `agent:main:main`. */
function nameOfSession(key: string): string {
  return key.split(":").slice(2).join(":");
}
