/** Starting what `npm start` starts, and how long that takes until `/readyz` answers 200. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { benchEnv, findFreePort, launcher } from "./processes.ts";

export interface TimedStart extends AsyncDisposable {
  readonly readyMs: number;
  readonly pid: number;
}

const readyTimeoutMs = 60_000;

/** Starts a gateway on `home` and asks every 2 ms until it is ready. */
export async function startTimed(home: string): Promise<TimedStart> {
  const port = await findFreePort();
  const args = ["gateway", "run", "--port", String(port)];
  const startedAt = performance.now();
  const child = spawn(launcher, args, { cwd: home, env: benchEnv(home), stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (part: Buffer) => (errors += part.toString()));
  const exited = once(child, "exit");
  while (!(await isReady(`http://127.0.0.1:${port}/readyz`))) {
    const waitedMs = performance.now() - startedAt;
    if (child.exitCode !== null || waitedMs > readyTimeoutMs) {
      child.kill("SIGKILL");
      throw new Error(`the gateway was not ready after ${Math.round(waitedMs)} ms: ${errors.trim()}`);
    }
    await sleep(2);
  }
  return {
    readyMs: performance.now() - startedAt,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

function isReady(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => resolve(response.resume().statusCode === 200)).once("error", () => resolve(false));
  });
}
