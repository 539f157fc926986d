/** Every broken guard there is. */
import type { Mutant } from "./mutant-list.ts";
import { auditMutants } from "./audit.ts";
import { backupMutants } from "./backup.ts";
import { bearersMutants } from "./bearers.ts";
import { compactionMutants } from "./compaction.ts";
import { cronMutants } from "./cron.ts";
import { configMutants } from "./config.ts";
import { importingMutants } from "./importing.ts";
import { credentialsMutants } from "./credentials.ts";
import { deviceMutants } from "./devices.ts";
import { dispatchMutants } from "./dispatch.ts";
import { engineMutants } from "./engine.ts";
import { eventMutants } from "./events.ts";
import { latticeMutants } from "./lattice.ts";
import { spawnMutants } from "./spawn.ts";
import { nodeMutants } from "./nodes.ts";
import { pairingMutants } from "./pairing.ts";
import { placesMutants } from "./places.ts";
import { programMutants } from "./programs.ts";
import { principalMutants } from "./principal.ts";
import { runMutants } from "./runs.ts";
import { setupMutants } from "./setup.ts";

/** Of the modules that decide who may do what. */
export const authorityMutants: readonly Mutant[] = [...principalMutants, ...latticeMutants, ...pairingMutants, ...dispatchMutants];

export const mutants: readonly Mutant[] = [
  ...authorityMutants,
  ...auditMutants,
  ...deviceMutants,
  ...setupMutants,
  ...spawnMutants,
  ...credentialsMutants,
  ...engineMutants,
  ...placesMutants,
  ...backupMutants,
  ...compactionMutants,
  ...bearersMutants,
  ...runMutants,
  ...cronMutants,
  ...eventMutants,
  ...programMutants,
  ...configMutants,
  ...importingMutants,
  ...nodeMutants,
];
