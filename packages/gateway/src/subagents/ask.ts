/** What a spawn may not ask for here, whoever asks: decided from the parameters and the configuration alone. Pure. */
import { type Params, ProtocolError } from "@portreeve/protocol";
import type { SubagentLimits } from "./limits.ts";

/** @throws ProtocolError for what this gateway cannot do, or its operator does not permit. */
export function assertWithinReach(params: Params<"subagents.spawn">, limits: SubagentLimits): void {
  const problem = problemWithMode(params) ?? problemWithSandbox(params) ?? problemWithTimeout(params, limits);
  if (problem !== undefined) throw problem;
}

function problemWithMode({ mode, thread }: Params<"subagents.spawn">): ProtocolError | undefined {
  if (thread === true) {
    return new ProtocolError("MODE_UNAVAILABLE", "thread: no channel of this gateway has threads", {
      remedy: 'leave `thread` out; the sub-agent then runs once (mode "run")',
    });
  }
  if (mode !== "session") return undefined;
  return new ProtocolError("MODE_UNAVAILABLE", 'mode "session" requires thread: true', {
    remedy: 'use mode "run", or leave `mode` out',
  });
}

function problemWithSandbox({ sandbox }: Params<"subagents.spawn">): ProtocolError | undefined {
  if (sandbox !== "require") return undefined;
  return new ProtocolError("SANDBOX_UNAVAILABLE", 'sandbox "require": this gateway has no sandbox, and nothing was started outside one', {
    remedy: 'use sandbox "inherit", and `tools` to narrow what the sub-agent may do',
  });
}

function problemWithTimeout({ runTimeoutSeconds: seconds }: Params<"subagents.spawn">, limits: SubagentLimits): ProtocolError | undefined {
  if (seconds === undefined) return undefined;
  const { runTimeoutMinSeconds: min, runTimeoutMaxSeconds: max } = limits;
  const isTooLong = max !== 0 && (seconds === 0 || seconds > max);
  if (!isTooLong && (seconds === 0 || seconds >= min)) return undefined;
  const configKey = `agents.defaults.subagents.${isTooLong ? "runTimeoutMaxSeconds" : "runTimeoutMinSeconds"}`;
  const asked = seconds === 0 ? "no deadline" : `${seconds} s`;
  const bound = isTooLong ? `at most ${max} s` : `at least ${min} s`;
  return new ProtocolError("SPAWN_TIMEOUT", `runTimeoutSeconds asks for ${asked}; the operator allows ${bound} (${configKey})`, {
    details: { configKey, limit: isTooLong ? max : min, asked: seconds },
    remedy: `name ${bound}, or leave runTimeoutSeconds out`,
  });
}
