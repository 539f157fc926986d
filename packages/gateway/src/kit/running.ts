/** What a running gateway says of itself in its state folder. */
import { readFile } from "node:fs/promises";
import { runningFileIn } from "./home.ts";

export interface RunningGateway {
  readonly url: string;
  readonly pid: number;
  /** SHA-256 of its certificate, when it serves TLS. */
  readonly tlsFingerprint?: string;
}

/** Undefined when there is no such file or it cannot be read. After a crash it stays behind: ask `isAlive`. */
export async function readRunning(stateDir: string): Promise<RunningGateway | undefined> {
  try {
    // Checked on the next lines.
    const said = JSON.parse(await readFile(runningFileIn(stateDir), "utf8")) as { url: unknown; pid: unknown; tlsFingerprint?: unknown };
    const { url, pid, tlsFingerprint } = said;
    if (typeof url !== "string" || typeof pid !== "number") return undefined;
    return { url, pid, ...(typeof tlsFingerprint === "string" ? { tlsFingerprint } : {}) };
  } catch {
    return undefined;
  }
}

/** Whether the process is there, whoever's it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
