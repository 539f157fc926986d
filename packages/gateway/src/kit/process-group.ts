/** Programs in process groups of their own, so that what they started goes with them. */
import { spawn, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";

export interface ProgramInput {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment of the program. */
  readonly env: Readonly<Record<string, string>>;
  /** Of each of its two outputs; what comes beyond is dropped and said. */
  readonly maxOutputBytes: number;
  readonly onOutput: () => void;
}

export interface ProgramOutcome {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly isCut: boolean;
}

export interface HeldProgram {
  /** Also the id of its group. */
  readonly pid: number;
  readonly startedAt: string | undefined;
  /** Lets it begin: until then the program does not run, and if this process ends before, it never does. */
  begin(): void;
  /** The program itself has ended; what it started may go on, and hold its outputs. */
  readonly ended: Promise<void>;
  /** Its outputs as far as they have come are all that is taken, whoever holds them open. Once it has ended. */
  letGo(): Promise<void>;
  /** When it has ended and its outputs have, or were let go. */
  readonly outcome: Promise<ProgramOutcome>;
}

/** What a machine does with programs. */
export interface Programs {
  /** @throws what the machine says when the program cannot be started. */
  start(input: ProgramInput): Promise<HeldProgram>;
  /** Whether anything lives of the group that `pid` leads, or led, since `startedAt`, and not of another one of the same number. */
  isStill(pid: number, startedAt: string | undefined): boolean;
  /** Asks the group to end, then ends it; answers whether nothing of it lives. */
  stop(groupId: number, patience: { readonly graceMs: number; readonly killMs: number }): Promise<boolean>;
}

/** Waits for a line on descriptor 3, then becomes the program. */
const heldStart = 'read -r _ <&3 || exit 125; exec 3<&-; exec "$0" "$@"';

async function startHeld(input: ProgramInput): Promise<HeldProgram> {
  const child = spawn("/bin/sh", ["-c", heldStart, input.file, ...input.args], {
    cwd: input.cwd,
    env: input.env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const { outcome, letGo } = gather(child, input);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  // Whoever never begins it does not look at how it ended either.
  outcome.catch(() => undefined);
  await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  const { pid } = child;
  if (pid === undefined) throw new Error(`${input.file} has no process id`);
  const gate = child.stdio[3];
  return {
    pid,
    startedAt: startOf(pid),
    outcome,
    ended,
    letGo,
    begin: () => {
      // A program that is killed before it reads has no reader.
      gate?.on("error", () => undefined);
      if (gate !== undefined && gate !== null && "end" in gate) gate.end("\n");
    },
  };
}

/** This machine. Which groups live: those that have ended but that nobody has asked about yet, zombies, do not. */
export class ProcessGroups implements Programs {
  #readAtMs = Number.NEGATIVE_INFINITY;
  #live: ReadonlySet<number> = new Set();

  start(input: ProgramInput): Promise<HeldProgram> {
    return startHeld(input);
  }

  isStill(pid: number, startedAt: string | undefined): boolean {
    if (startedAt === undefined) return false;
    const leader = readStat(String(pid));
    if (leader !== undefined && (leader.startedAt !== startedAt || leader.state !== "Z")) return leader.startedAt === startedAt;
    // Without its leader a group is known by its session, and by having begun no sooner.
    const isOfIt = (one: Stat): boolean => one.groupId === pid && one.sessionId === pid && Number(one.startedAt) >= Number(startedAt);
    return readLive()?.some(isOfIt) ?? false;
  }

  async stop(groupId: number, { graceMs, killMs }: { graceMs: number; killMs: number }): Promise<boolean> {
    send(groupId, "SIGTERM");
    if (await this.#isGoneWithin(groupId, graceMs)) return true;
    send(groupId, "SIGKILL");
    return this.#isGoneWithin(groupId, killMs);
  }

  async #isGoneWithin(groupId: number, withinMs: number): Promise<boolean> {
    for (let waitedMs = 0; waitedMs < withinMs; waitedMs += lookEveryMs) {
      await pause(lookEveryMs);
      if (!this.#isLive(groupId)) return true;
    }
    return false;
  }

  #isLive(groupId: number): boolean {
    if (!send(groupId, 0)) return false;
    // One look at all processes serves all groups that are being stopped.
    if (performance.now() - this.#readAtMs >= lookEveryMs) {
      this.#live = new Set(readLive()?.map((one) => one.groupId) ?? [groupId]);
      this.#readAtMs = performance.now();
    }
    return this.#live.has(groupId);
  }
}

const lookEveryMs = 20;

/** Undefined where the kernel does not say. */
function readLive(): readonly Stat[] | undefined {
  try {
    const stats = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? (readStat(name) ?? []) : []));
    return stats.filter(({ state }) => state !== "Z");
  } catch {
    return undefined;
  }
}

/** False when there is no such group. */
function send(groupId: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-groupId, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}

/** When the kernel says that the process began; undefined where that cannot be asked, and of a process that has ended. */
function startOf(pid: number): string | undefined {
  const stat = readStat(String(pid));
  return stat === undefined || stat.state === "Z" ? undefined : stat.startedAt;
}

interface Stat {
  readonly state: string;
  readonly groupId: number;
  readonly sessionId: number;
  readonly startedAt: string;
}

function readStat(pid: string): Stat | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in brackets, may hold anything; what follows are fields.
    const [state = "", , groupId = "", sessionId = "", ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, groupId: Number(groupId), sessionId: Number(sessionId), startedAt: rest[15] ?? "" };
  } catch {
    return undefined;
  }
}

/** Turns of the event loop: in each one a whole pipe is read, so that more than these is the output of somebody else. */
const mostTurns = 100;

function gather(child: ChildProcess, { maxOutputBytes, onOutput }: ProgramInput): Pick<HeldProgram, "outcome" | "letGo"> {
  let isCut = false;
  let pieces = 0;
  const collect = (stream: ChildProcess["stdout"]): Buffer[] => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    stream?.on("data", (chunk: Buffer) => {
      onOutput();
      pieces += 1;
      const kept = chunk.subarray(0, Math.max(0, maxOutputBytes - bytes));
      isCut ||= kept.length < chunk.length;
      bytes += kept.length;
      if (kept.length > 0) chunks.push(kept);
    });
    return chunks;
  };
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const outcome = new Promise<ProgramOutcome>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exitCode, signal) =>
      resolve({
        exitCode: exitCode ?? undefined,
        signal: signal ?? undefined,
        stdout: Buffer.concat(stdout).toString("utf8"),
        stderr: Buffer.concat(stderr).toString("utf8"),
        isCut,
      }),
    );
  });
  const letGo = async (): Promise<void> => {
    // The first turn may be one that has done its reading.
    for (let turn = 0, quiet = 0; turn < mostTurns && quiet < 2; turn += 1) {
      const before = pieces;
      await nextTurn();
      quiet = pieces === before ? quiet + 1 : 0;
    }
    for (const stream of child.stdio) stream?.destroy();
  };
  return { outcome, letGo };
}
