/**
 * `npm run bench:clients [-- --rounds N]`: the same commands of the `openclaw` command line against this gateway and against the
 * gateway of its own package, in turns, and the ratio of the times they take. Most of each time is the command line's own start,
 * which is the same in both.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Generation, installClients, openclaw, readVersion } from "../test/clients/installation.ts";
import { openOpenclawHome, type OpenclawHome } from "../test/clients/openclaw-home.ts";
import { startProcess } from "../test/clients/process.ts";
import { median, nowMs } from "./measure.ts";
import { findFreePort } from "./processes.ts";
import { startTarget } from "./target.ts";

const commands: readonly (readonly string[])[] = [
  ["gateway", "call", "health"],
  ["gateway", "call", "sessions.list"],
  ["devices", "list"],
  ["system", "presence"],
  ["logs", "--limit", "20", "--plain"],
];

interface Gateway extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
}

async function compare(generation: Generation, rounds: number): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "portreeve-bench-clients-"));
  const folder = (): Promise<string> => mkdtemp(join(root, "home-"));
  try {
    // No command here asks a model.
    await using target = await startTarget({ modelUrl: "http://127.0.0.1:9" });
    const ours = { url: target.url, token: target.token ?? "" };
    await using theirs = await startOwnGateway(generation, await folder());
    const homes = [
      await openOpenclawHome({ folder, gateway: ours }, generation),
      await openOpenclawHome({ folder, gateway: theirs }, generation),
    ] as const;
    console.log(`\nopenclaw ${await readVersion(`openclaw-v${generation}`)}${" ".repeat(20)}Portreeve    its own     ratio`);
    for (const command of commands) {
      const [mine, own] = await timeInTurns(homes, command, rounds);
      console.log(`${command.join(" ").padEnd(36)} ${toMs(mine)} ms ${toMs(own)} ms ${(mine / own).toFixed(2).padStart(9)}`);
    }
  } finally {
    await rm(root, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Medians, after one round that pairs the device and fills the caches. */
async function timeInTurns(
  homes: readonly [OpenclawHome, OpenclawHome],
  command: readonly string[],
  rounds: number,
): Promise<readonly [number, number]> {
  const times: readonly [number[], number[]] = [[], []];
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, home] of homes.entries()) {
      const startedAt = nowMs();
      const { code, out, err } = await home.run(...command, ...home.access);
      if (code !== 0) throw new Error(`openclaw ${command.join(" ")} ended with ${code}: ${err}${out}`);
      if (round > 0) times[index]?.push(nowMs() - startedAt);
    }
  }
  return [median(times[0]), median(times[1])];
}

/** The gateway that the command line's own package brings, with nothing configured but its secret. */
async function startOwnGateway(generation: Generation, home: string): Promise<Gateway> {
  const [token, port] = ["bench-secret-of-the-own-gateway", await findFreePort()];
  const [stateDir, configFile] = [join(home, "state"), join(home, "openclaw.json")];
  await mkdir(stateDir, { recursive: true });
  await writeFile(configFile, JSON.stringify({ gateway: { mode: "local", port, bind: "loopback", auth: { mode: "token", token } } }));
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: home,
    OPENCLAW_STATE_DIR: stateDir,
    OPENCLAW_CONFIG_PATH: configFile,
    NO_COLOR: "1",
  };
  const args = [openclaw(generation), "gateway", "run", "--port", String(port)];
  const running = startProcess(process.execPath, args, { env, cwd: home, timeoutMs: 3_600_000 });
  await untilReady(`http://127.0.0.1:${port}/readyz`, running);
  return { url: `ws://127.0.0.1:${port}`, token, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

async function untilReady(url: string, running: ReturnType<typeof startProcess>): Promise<void> {
  const ended = running.ended.then(({ out, err }) => Promise.reject(new Error(`the client's own gateway ended: ${err}${out}`)));
  ended.catch(() => undefined);
  for (;;) {
    const asked = fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (await Promise.race([asked, ended])) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function toMs(ms: number): string {
  return ms.toFixed(0).padStart(8);
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
  const absence = await installClients();
  if (absence === undefined) for (const generation of [4, 3] as const) await compare(generation, Number(values.rounds));
  else console.log(`nothing was measured: ${absence}`);
}
