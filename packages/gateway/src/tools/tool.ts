/** A tool: what an agent may do. It sees the public methods through a Caller, its workspace, and nothing else. */
import type { Caller } from "@portreeve/protocol";
import { z } from "zod";

/** A program to run, without a shell between. */
export interface Program {
  readonly file: string;
  readonly args?: readonly string[];
  /** Of each of its outputs; a million when left out. */
  readonly maxOutputBytes?: number;
}

export interface ProgramOutcome {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly isCut: boolean;
}

export interface ToolContext {
  /** Calls methods with the run's own authority. */
  readonly caller: Caller;
  /** Absolute path of the folder that file tools see. */
  readonly workspace: string;
  /** Absolute path of the files that came with the run's task, which file tools see too; undefined: none came. */
  readonly attachments: string | undefined;
  readonly sessionKey: string;
  readonly agentId: string;
  /** Unique within the session and the same after a restart: what makes a command issued by a tool happen once. */
  readonly callKey: string;
  readonly signal: AbortSignal;
  /** Says that the tool is at work: one that is silent for too long is taken for stuck. */
  readonly sign: () => void;
  /**
   * Runs a program in the workspace, with none of the gateway's environment, in a process group that ends with the call or
   * the run. Rejects when it cannot be started or the run is stopped.
   */
  readonly runProgram: (program: Program) => Promise<ProgramOutcome>;
}

export interface ToolResult {
  /** What the model reads. */
  readonly text: string;
  readonly isError?: boolean;
  /** For whoever watches: structured, without secrets. */
  readonly details?: unknown;
  /** The run parks after this turn until a child's result is there. */
  readonly parks?: boolean;
  /** The call started a child: told to whoever watches the run. */
  readonly spawned?: {
    readonly childSessionKey: string;
    readonly childRunId: string;
    readonly label: string | undefined;
    readonly scopes: readonly string[];
  };
}

export interface Tool {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the parameters, for models. */
  readonly schema: () => Readonly<Record<string, unknown>>;
  /** `safe`: may run again after a crash. `ask`: may not; the model is told that the effect is unknown. */
  readonly repeat: "safe" | "ask";
  /** What of a call's arguments may be written down and told, whatever a model put there; left out: all of it. */
  readonly redact?: ((args: unknown) => unknown) | undefined;
  /** Only for runs that a person with `operator.admin` started directly. */
  readonly ownerOnly: boolean;
  /** Not for sub-agents that may not have children themselves. */
  readonly notForLeaves: boolean;
  /** Not for any sub-agent, whatever it may delegate. */
  readonly notForChildren: boolean;
  /** Only looks, and at nothing of a run's own: may be called without one. */
  readonly withoutRun: boolean;
  /** Must not throw for what the model did wrong: that is a result with `isError`. */
  execute(args: unknown, context: ToolContext): Promise<ToolResult>;
}

interface ToolInput<P extends z.ZodType> {
  readonly name: string;
  readonly description: string;
  readonly parameters: P;
  readonly repeat: "safe" | "ask";
  readonly redact?: (args: unknown) => unknown;
  readonly ownerOnly?: boolean;
  readonly notForLeaves?: boolean;
  readonly notForChildren?: boolean;
  readonly withoutRun?: boolean;
  readonly execute: (args: z.output<P>, context: ToolContext) => Promise<ToolResult>;
}

/** Defines a tool; arguments that do not fit its schema become an error result that says what was expected. */
export function defineTool<P extends z.ZodType>(input: ToolInput<P>): Tool {
  const { parameters, ...rest } = input;
  let schema: Readonly<Record<string, unknown>> | undefined;
  return {
    ownerOnly: false,
    notForLeaves: false,
    notForChildren: false,
    withoutRun: false,
    ...rest,
    // Asked for with every model call; made once.
    schema: () => (schema ??= z.toJSONSchema(parameters, { io: "input" })),
    async execute(args, context) {
      const parsed = parameters.safeParse(args);
      if (!parsed.success) return { text: `The arguments of ${input.name} are not valid: ${z.prettifyError(parsed.error)}`, isError: true };
      return input.execute(parsed.data, context);
    },
  };
}
