/** The disk that a state folder lies on: the room that is left, and whether it takes a small write now. Leaves nothing behind. */
import { constants } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { isFullDisk } from "../kit/full-disk.ts";
import type { DiskFacts } from "./facts.ts";

/** More than one commit writes at a time. */
const probeBytes = 65_536;
/** Linux: a file without a name in the folder, gone when it is closed; no time of the folder changes. Node has no name for it. */
const unnamed = 0o20000000 | constants.O_DIRECTORY;

export async function gatherDisk(stateDir: string): Promise<DiskFacts> {
  try {
    const { bavail, bsize } = await statfs(stateDir);
    return { kind: "read", freeBytes: bavail * bsize, isFull: await refusesWrite(stateDir) };
  } catch {
    return { kind: "unknown" };
  }
}

/** False where it cannot be tried: another system, another user's folder, a file system without files of that kind. */
async function refusesWrite(folder: string): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    await using file = await open(folder, unnamed | constants.O_RDWR, 0o600);
    await file.writeFile(Buffer.alloc(probeBytes));
    await file.sync();
    return false;
  } catch (error) {
    return isFullDisk(error);
  }
}
