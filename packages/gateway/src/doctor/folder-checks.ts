/** Checks of the state folder, its keys, the lock and the clock. Pure. */
import { basename } from "node:path";
import { tokenKeyName } from "../identity/state-keys.ts";
import { shellQuote as quote } from "../kit/shell-quote.ts";
import type { DoctorFacts } from "./facts.ts";
import { type Finding, named, orOk } from "./findings.ts";

const skewMs = 120_000;
/** The database's log alone takes 16 MiB between two of its checkpoints. */
const leastBytes = 32 * 1_048_576;
const scarceBytes = 256 * 1_048_576;
/** Earlier than any version of this program: a clock that was never set. */
const earliestMs = Date.UTC(2025, 0, 1);

export function checkFolder({ folder, stateDir }: DoctorFacts): readonly Finding[] {
  const { ok, note, problem } = named("state folder");
  if (folder.kind === "missing") return [note(`${stateDir} does not exist yet; the first start makes it`, "./portreeve gateway run")];
  if (folder.kind === "unreadable")
    return [problem(`${stateDir} cannot be read: ${folder.problem}`, `sudo chown -R "$(id -un)" ${quote(stateDir)}`)];
  const { foreign, modeProblems } = folder;
  return orOk(
    [
      ...foreign.map((path) => problem(`${path} belongs to another user`, `sudo chown "$(id -un)" ${quote(path)}`)),
      ...modeProblems.map(({ path, mode, allowed }) =>
        problem(`${path} is open to others: its mode is ${mode}`, `chmod ${allowed} ${quote(path)}`),
      ),
    ],
    ok(`${stateDir} and its files are for their owner alone`),
  );
}

export function checkDisk({ disk, stateDir }: DoctorFacts): readonly Finding[] {
  const { ok, note, problem } = named("disk");
  if (disk.kind === "unknown") return [note("not looked at: there is no state folder, or its disk does not say how full it is")];
  const cure = `df -h ${quote(stateDir)}   # free space there; what was refused is done when it is asked for again`;
  const left = `${Math.floor(disk.freeBytes / 1_048_576)} MiB are free`;
  if (disk.isFull) return [problem(`the disk of ${stateDir} is full: it refused a small write (${left})`, cure)];
  if (disk.freeBytes < leastBytes) return [problem(`the disk of ${stateDir} is nearly full: ${left}`, cure)];
  if (disk.freeBytes < scarceBytes) return [note(`the disk of ${stateDir} fills up: ${left}`, cure)];
  return [ok(`${left} where the state is, and a small write works`)];
}

export function checkKeys({ folder }: DoctorFacts): readonly Finding[] {
  const { ok, note, problem } = named("keys");
  if (folder.kind !== "read") return [note("there is no key to look at")];
  const { keyProblems, missingKeys } = folder;
  return orOk(
    [
      ...keyProblems.map(({ path, text }) => problem(text, cureOfKey(path))),
      ...(missingKeys.length === 0 ? [] : [note(`not there yet: ${missingKeys.join(", ")}; the next start makes them`)]),
    ],
    ok("they can be read and are of the right kind"),
  );
}

function cureOfKey(path: string): string {
  const file = quote(path);
  if (basename(path) === tokenKeyName)
    return `rm ${file}; ./portreeve gateway run   # makes another; each device then signs in with the secret once more`;
  return `cp FOLDER/${basename(path)} ${file}   # FOLDER of a backup; without one: rm ${file}, and the next start makes another`;
}

export function checkGateway({ gateway, stateDir }: DoctorFacts): readonly Finding[] {
  const { ok, note } = named("gateway");
  switch (gateway.kind) {
    case "down":
      return [note("none is running on this state folder", "./portreeve gateway run")];
    case "running":
      return [ok(`one is running: process ${gateway.pid}, ${gateway.url}`)];
    case "stale":
      return [note(`process ${gateway.pid} ended without saying so; the next start goes on from what it had`, "./portreeve gateway run")];
    case "unknown":
      return [
        note(
          `a process holds the lock of ${stateDir} and says nothing of itself: a gateway that starts or stops`,
          `fuser ${quote(`${stateDir}/lock.db`)}`,
        ),
      ];
  }
}

export function checkClock({ nowMs, folder, database }: DoctorFacts): readonly Finding[] {
  const { ok, problem } = named("clock");
  const now = new Date(nowMs).toISOString();
  const cure = "timedatectl set-ntp true";
  if (nowMs < earliestMs) return [problem(`it says ${now}, which cannot be`, cure)];
  const newestMs = Math.max(folder.kind === "read" ? folder.newestMs : 0, (database.kind === "read" ? database.newestMs : undefined) ?? 0);
  if (newestMs > nowMs + skewMs) {
    return [problem(`it says ${now}, but the state was written at ${new Date(newestMs).toISOString()}: the clock went back`, cure)];
  }
  return [ok(`it says ${now}, and nothing here is newer`)];
}
