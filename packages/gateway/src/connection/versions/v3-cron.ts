/** Jobs in the shapes of version 3. */
import type { CronJob, EventPayload, ProtocolError, Result } from "@portreeve/protocol";

/** Results whose shape differs from version 4. */
export const v3CronResults = {
  "cron.status": ({ enabled, storePath, jobs, nextWakeAtMs }: Result<"cron.status">) => ({ enabled, storePath, jobs, nextWakeAtMs }),
  "cron.list": ({ jobs, total, offset, limit, hasMore, nextOffset }: Result<"cron.list">) => ({
    jobs: jobs.map(toJob),
    total,
    offset,
    limit,
    hasMore,
    nextOffset,
  }),
  "cron.get": toJob,
  "cron.add": toJob,
  "cron.update": toJob,
  "cron.run": ({ processInstanceId: _processInstanceId, ...rest }: Result<"cron.run">) => rest,
  "cron.runs": ({ entries, ...page }: Result<"cron.runs">) => ({
    entries: entries.map(({ completionStatus: _completionStatus, runId: _runId, jobName: _jobName, ...entry }) => entry),
    ...page,
  }),
};

export const v3CronEvents = {
  cron: ({ job: _job, runId: _runId, completionStatus: _completionStatus, ...rest }: EventPayload<"cron">) => rest,
};

/** Version 3 calls it done when there is nothing to remove. */
export function v3InsteadOfRefusal(method: string, error: ProtocolError): object | undefined {
  return method === "cron.remove" && error.code === "CRON_JOB_NOT_FOUND" ? { ok: true, removed: false } : undefined;
}

/** What version 3 tells of a job stands in its `state` alone. */
function toJob(job: CronJob): unknown {
  const added = [
    "configRevision",
    "nextRunAtMs",
    "lastRunAtMs",
    "lastRunStatus",
    "effectiveAgentId",
    "actsFor",
    "displayName",
    "deliveryPreview",
  ];
  return Object.fromEntries(Object.entries(job).filter(([name]) => !added.includes(name)));
}
