/** The doctor: is everything in order, and if not, what cures it. Reads only. */
import { checkConfig, checkExposure, checkModels, checkWorkspaces } from "./config-checks.ts";
import type { DoctorFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";
import { checkClock, checkDisk, checkFolder, checkGateway, checkKeys } from "./folder-checks.ts";
import { type DoctorOptions, gatherFacts } from "./gather.ts";
import { checkStore } from "./store-checks.ts";

export type { OwnClient } from "./facts.ts";
export type { Finding } from "./findings.ts";
export type { DoctorOptions } from "./gather.ts";

export interface Examination {
  /** No finding is a problem. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

const checks: readonly ((facts: DoctorFacts) => readonly Finding[])[] = [
  checkFolder,
  checkDisk,
  checkKeys,
  checkGateway,
  checkClock,
  checkConfig,
  checkExposure,
  checkModels,
  checkWorkspaces,
  checkStore,
];

export async function examine(options: DoctorOptions): Promise<Examination> {
  return diagnose(await gatherFacts(options));
}

/** Pure. */
export function diagnose(facts: DoctorFacts): Examination {
  const findings = checks.flatMap((check) => check(facts));
  return { ok: findings.every(({ status }) => status !== "problem"), findings };
}
