/**
 * A process that does nothing but ask: every few milliseconds one request that needs no store, to the target and to the echo
 * server in turn. The longest answer is the target's longest stall; the echo's says what the machine itself did.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { nowMs } from "./measure.ts";
import { type Access, Wire } from "./wire.ts";

export interface Waits {
  readonly target: readonly number[];
  readonly echo: readonly number[];
}

export interface Probe {
  /** Ends it; every wait in milliseconds. */
  stop(): Promise<Waits>;
}

const everyMs = 5;

export async function startProbe(target: Access, echoUrl: string): Promise<Probe> {
  const { url, token = "" } = target;
  const child = fork(import.meta.filename, [url, echoUrl], { env: { PATH: process.env["PATH"], BENCH_TOKEN: token } });
  await once(child, "message");
  return {
    async stop() {
      const answer = once(child, "message") as Promise<[Waits]>;
      child.send("stop");
      const [waits] = await answer;
      child.kill();
      return waits;
    },
  };
}

async function ask(): Promise<void> {
  const [, , url = "", echoUrl = ""] = process.argv;
  const target = await Wire.open({ url, token: process.env["BENCH_TOKEN"] });
  const echo = await Wire.open({ url: echoUrl });
  const waits = { target: [] as number[], echo: [] as number[] };
  let isStopped = false;
  process.on("disconnect", () => process.exit());
  process.on("message", () => (isStopped = true));
  process.send?.("ready");
  const frame = { type: "req", id: "1", method: "agents.list", params: {} };
  while (!isStopped) {
    for (const [name, wire, marker] of [["target", target, '"ok":true'] as const, ["echo", echo, '"type":"req"'] as const]) {
      const askedAt = nowMs();
      await wire.saturate(frame, { marker, atOnce: 1, forMs: 0 });
      waits[name].push(nowMs() - askedAt);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  process.send?.(waits);
}

if (import.meta.main) await ask();
