/** Configuration: one JSON5 file, parsed once. Every default stands here and nowhere else. */
import { availableParallelism } from "node:os";
import { readFile } from "node:fs/promises";
import JSON5 from "json5";
import { runSeconds, thinkingLevels } from "@portreeve/protocol";
import { z } from "zod";
import { Secret } from "./secret.ts";
import { shellQuote } from "./shell-quote.ts";

const secret = z
  .string()
  .min(1)
  .transform((value) => new Secret(value))
  .meta({ sensitive: true });

const gatewaySchema = z
  .strictObject({
    port: z.number().int().min(0).max(65_535).default(18_789).describe("TCP port; 0 takes a free one."),
    bind: z
      .union([z.enum(["loopback", "lan"]), z.ipv4(), z.ipv6()])
      .default("loopback")
      .describe("`loopback`, `lan` (all addresses), or one address."),
    publicUrl: z.url().optional().describe("The URL under which clients reach a gateway behind a proxy; its host and origin are allowed."),
    auth: z
      .strictObject({
        mode: z
          .enum(["token", "password", "none", "trusted-proxy"])
          .default("token")
          .describe("How clients without a device token prove themselves; `none` only on loopback."),
        token: secret
          .optional()
          .describe("The shared secret; else `tokenFile`, else `PORTREEVE_TOKEN`, else the generated one in the state folder."),
        tokenFile: z.string().min(1).optional().describe("A file (mode 0600) that holds the shared secret; a change counts at once."),
        password: secret.optional().describe("The shared secret in mode `password`; else `passwordFile`, else `PORTREEVE_PASSWORD`."),
        passwordFile: z.string().min(1).optional().describe("A file (mode 0600) that holds the password; a change counts at once."),
        trustedProxy: z
          .strictObject({
            userHeader: z.string().min(1).describe("The header in which the proxy names the user."),
            requiredHeaders: z.array(z.string().min(1)).default([]).describe("Headers the proxy always sends; without one, refused."),
            allowUsers: z.array(z.string().min(1)).default([]).describe("Users that are let in; empty is every user of the proxy."),
            allowLoopback: z
              .boolean()
              .default(false)
              .describe("The proxy may be on this machine, where any program could pretend to be it."),
          })
          .optional(),
      })
      .prefault({}),
    tls: z
      .strictObject({
        mode: z
          .enum(["off", "generated", "files"])
          .default("off")
          .describe("`generated`: a self-signed certificate in the state folder, pinned by its fingerprint; `files`: your own."),
        certFile: z.string().min(1).optional().describe("The certificate (PEM, with its chain), in mode `files`."),
        keyFile: z.string().min(1).optional().describe("Its private key (PEM, mode 0600), in mode `files`."),
        insecurePlaintext: z
          .boolean()
          .default(false)
          .describe("Serve other machines without TLS: everything, secrets included, can be read on the way."),
      })
      .prefault({}),
    trustedProxies: z
      .array(z.union([z.ipv4(), z.ipv6()]))
      .default([])
      .describe("Peers whose forwarded address counts."),
    allowedOrigins: z.array(z.url()).default([]).describe("Browser origins allowed beside the gateway's own."),
    pairing: z
      .strictObject({
        autoApproveLocal: z.boolean().default(true).describe("Pair a new device on this machine silently when it has the shared secret."),
      })
      .prefault({}),
    drainSeconds: z
      .number()
      .min(0)
      .max(300)
      .default(5)
      .describe("How long a stop waits for runs to finish the step they are at; the next start carries them on either way."),
    http: z
      .strictObject({
        chatCompletions: z
          .boolean()
          .default(true)
          .describe("Without effect: the OpenAI-compatible paths are always there, and take nobody without a bearer."),
      })
      .prefault({}),
  })
  .prefault({});

const providerSchema = z.strictObject({
  api: z.enum(["anthropic", "openai", "google", "openai-compatible"]).describe("The provider's wire format."),
  baseUrl: z
    .url()
    .optional()
    .describe("Required for `openai-compatible`. Where only a proxy leads there, start with `NODE_USE_ENV_PROXY=1` and `HTTPS_PROXY`."),
  thinking: z
    .array(z.enum(thinkingLevels))
    .optional()
    .describe("Levels its models think at, for `openai-compatible`: nothing else can know them. Left out, none."),
  apiKey: secret.optional().describe("Else the provider's usual environment variable."),
});

const dollars = z.number().nonnegative().max(1_000_000);

const priceSchema = z.strictObject({
  input: dollars.describe("US dollars per million tokens."),
  output: dollars.describe("US dollars per million tokens."),
  cacheRead: dollars.optional().describe("Of tokens the provider's cache held; else as `input`."),
  cacheWrite: dollars.optional().describe("Of tokens written to the provider's cache; else as `input`."),
});

const attachmentSchema = z
  .strictObject({
    enabled: z.boolean().default(false).describe("Whether a spawn may hand files to its child."),
    maxFiles: z.number().int().min(1).max(1_000).default(50).describe("Files of one spawn; beyond it the spawn is refused."),
    maxFileBytes: z.number().int().min(1).max(16_777_216).default(1_048_576).describe("Bytes of one file, decoded."),
    maxTotalBytes: z.number().int().min(1).max(16_777_216).default(5_242_880).describe("Bytes of all files of one spawn, decoded."),
  })
  .prefault({});

const subagentSchema = z
  .strictObject({
    maxSpawnDepth: z.number().int().min(1).max(5).default(5).describe("How deep sub-agents may nest."),
    maxChildrenPerAgent: z
      .number()
      .int()
      .min(1)
      .max(100)
      .default(5)
      .describe("Running children a session may have; beyond it a spawn is refused."),
    maxConcurrent: z
      .number()
      .int()
      .min(1)
      .max(1_000)
      .default(() => Math.min(1_000, 8 * availableParallelism()))
      .describe("Children that run at once in the gateway; beyond it they queue. Default: 8 × cores."),
    runTimeoutSeconds: runSeconds.default(0).describe("A child's deadline when its spawn names none; 0 is none."),
    runTimeoutMinSeconds: runSeconds.default(0).describe("The shortest deadline a spawn may name."),
    runTimeoutMaxSeconds: runSeconds
      .default(0)
      .describe("The longest deadline a spawn may name; with it, none may be without one. 0 is no bound."),
    forkMaxBytes: z
      .number()
      .int()
      .nonnegative()
      .default(500_000)
      .describe("The largest conversation that a child may begin with; beyond it the child begins with its task alone, and is said to."),
    attachments: attachmentSchema,
    archiveAfterMinutes: z
      .number()
      .int()
      .min(0)
      .max(5_256_000)
      .default(60)
      .describe("When a finished child's session is archived; 0 is never."),
  })
  .refine(
    ({ runTimeoutSeconds: seconds, runTimeoutMinSeconds: min, runTimeoutMaxSeconds: max }) =>
      (seconds === 0 ? max === 0 : seconds >= min) && (max === 0 || seconds <= max),
    { path: ["runTimeoutSeconds"], message: "must lie within runTimeoutMinSeconds and runTimeoutMaxSeconds" },
  )
  .prefault({});

const toolName = z.string().min(1);

const toolPolicySchema = z.strictObject({
  allow: z.array(toolName).optional().describe("The only tools the agent gets; left out, every one."),
  deny: z.array(toolName).default([]).describe("Tools the agent never gets, whatever `allow` says."),
});

const fallbacks = z
  .array(z.string().min(1))
  .max(8)
  .describe("Models (`provider/name`) that stand in, in this order, when the model or its provider fails.");

const budgetPerDay = z
  .strictObject({
    tokens: z.number().int().nonnegative().optional(),
    usd: z.number().nonnegative().max(1_000_000).optional().describe("US dollars; needs the price of every model it uses."),
    turns: z.number().int().nonnegative().optional().describe("Calls of a model."),
  })
  .describe("What all runs of an agent together may use in a day (UTC); a call that does not fit ends its run as `budget_exceeded`.");

const agentId = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "must be an agent id: a-z, 0-9, _ and -, starting with a letter or digit");

const configSchema = z.strictObject({
  gateway: gatewaySchema,
  models: z
    .strictObject({
      providers: z.record(z.string().regex(/^[a-z0-9][a-z0-9_-]*$/), providerSchema).default({}),
      prices: z
        .record(z.string().regex(/^[^/]+\/.+$/, "must be provider/name"), priceSchema)
        .default({})
        .describe("By `provider/name`. The cost of a model without one is unknown, not zero."),
      contextWindows: z
        .record(z.string().regex(/^[^/]+\/.+$/, "must be provider/name"), z.number().int().min(1_000).max(100_000_000))
        .default({})
        .describe("Tokens that a model reads at once, by `provider/name`; else what its family is known for, else 128000."),
    })
    .prefault({}),
  agents: z
    .strictObject({
      defaults: z
        .strictObject({
          model: z
            .string()
            .min(1)
            .optional()
            .describe("`provider/name`; else the provider whose key is in the environment, else `scripted`."),
          fallbacks: fallbacks.default([]),
          budgetPerDay: budgetPerDay.optional(),
          stallSeconds: runSeconds
            .default(600)
            .describe("A run of which nothing comes for so long, no token and no sign of a tool, ends as `stalled`; 0 is never."),
          subagents: subagentSchema,
          sessions: z
            .strictObject({
              visibility: z
                .enum(["self", "tree", "agent", "all"])
                .default("tree")
                .describe(
                  "Which sessions an agent's tools see and speak to: its own; also all below it and, as long as they are of the same agent, those above it (`tree`); its agent's; or all.",
                ),
              maxHops: z
                .number()
                .int()
                .min(1)
                .max(20)
                .default(5)
                .describe("How often sessions may answer each other's messages before a person has to speak."),
            })
            .prefault({}),
          compaction: z
            .strictObject({
              share: z
                .number()
                .min(0.1)
                .max(0.95)
                .default(0.8)
                .describe("Of the model's context window; beyond it the older part of a conversation is summed up."),
            })
            .prefault({}),
        })
        .prefault({}),
      entries: z
        .record(
          agentId,
          z.strictObject({
            workspace: z.string().min(1).optional().describe("The folder the agent's file tools see."),
            model: z.string().min(1).optional().describe("`provider/name`, instead of the default."),
            fallbacks: fallbacks.optional(),
            budgetPerDay: budgetPerDay.optional(),
            tools: toolPolicySchema.optional(),
          }),
        )
        .default({})
        .transform((entries) => ({ main: {}, ...entries }) as Readonly<Record<string, AgentConfig>>),
    })
    .prefault({}),
  cron: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Whether jobs run at their time; else they are kept, and run by hand alone."),
      maxConcurrentRuns: z
        .number()
        .int()
        .min(1)
        .max(1_000)
        .default(8)
        .describe("Runs of jobs that work at once; a job that is due beyond it waits for one of them."),
    })
    .prefault({}),
});

interface AgentConfig {
  readonly workspace?: string | undefined;
  readonly model?: string | undefined;
  readonly fallbacks?: readonly string[] | undefined;
  readonly budgetPerDay?: z.output<typeof budgetPerDay> | undefined;
  readonly tools?: z.output<typeof toolPolicySchema> | undefined;
}

export type Config = z.output<typeof configSchema>;
export type ProviderConfig = z.output<typeof providerSchema>;

/** The schema itself, for the generated reference page. */
export { configSchema };

/** A mistake in the file, worded for the person who made it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** The mistakes one by one, without what came; empty when the message is about no key. */
  readonly issues: readonly ConfigIssue[];
  /** When correcting the text does not help: what does. */
  readonly remedy: string | undefined;

  constructor(message: string, options?: ErrorOptions & { readonly issues?: readonly ConfigIssue[]; readonly remedy?: string }) {
    super(message, options);
    this.issues = options?.issues ?? [];
    this.remedy = options?.remedy;
  }

  /** One mistake at one key. */
  static at(path: string, message: string): ConfigError {
    return new ConfigError(`${path === "" ? "(root)" : path}: ${message}`, { issues: [{ path, message }] });
  }
}

export interface ConfigIssue {
  /** Keys joined by dots; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

/**
 * Parses the text of a configuration file. An empty text is valid. `source` names it in errors.
 * @throws ConfigError with the path, what was expected and what came, one line a mistake.
 */
export function parseConfig(text: string, source: string): Config {
  return checkConfig(parseJson5(text, source), source);
}

/** The value of a configuration file's text. @throws ConfigError */
export function parseJson5(text: string, source: string): unknown {
  try {
    return text.trim() === "" ? {} : JSON5.parse(text);
  } catch (error) {
    const why = `not JSON5: ${error instanceof Error ? error.message.replace(/^JSON5: /, "") : String(error)}`;
    throw new ConfigError(`${source}: ${why}`, { cause: error, issues: [{ path: "", message: why }] });
  }
}

/** The configuration that `json` is. @throws ConfigError */
export function checkConfig(json: unknown, source: string): Config {
  const parsed = configSchema.safeParse(json, { reportInput: true });
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  throw new ConfigError(issues.map((issue) => `${source}: ${describe(issue)}`).join("\n"), {
    cause: parsed.error,
    issues: issues.map(toIssue),
  });
}

function toIssue(issue: z.core.$ZodIssue): ConfigIssue {
  const message = issue.code === "unrecognized_keys" ? `unknown key: ${issue.keys.join(", ")}` : issue.message;
  return { path: issue.path.map(String).join("."), message };
}

/** The configuration in `path`; a missing file is an empty one. */
export async function readConfig(path: string): Promise<Config> {
  let text = "";
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw unreadable(path, error);
  }
  return parseConfig(text, path);
}

function unreadable(path: string, error: unknown): ConfigError {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  const file = shellQuote(path);
  const then = "   # then: ./portreeve gateway run";
  if (code === "EISDIR")
    return new ConfigError(`${path}: it is a folder, and a file was expected`, { cause: error, remedy: `mv ${file} ${file}.old${then}` });
  if (code === "EACCES")
    return new ConfigError(`${path}: this user may not read it`, {
      cause: error,
      remedy: `sudo chown "$(id -un)" ${file} && chmod 600 ${file}${then}`,
    });
  return new ConfigError(`${path}: cannot be read (${code})`, { cause: error, remedy: `ls -l ${file}${then}` });
}

function describe(issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") return `${[path, issue.keys.join(", ")].filter((part) => part !== "").join(".")}: unknown key`;
  return `${path === "" ? "(root)" : path}: ${issue.message}${isShowable(issue.input, path) ? `; got ${JSON.stringify(issue.input)}` : ""}`;
}

/** What came is shown unless it may be a secret or is large. */
function isShowable(input: unknown, path: string): boolean {
  return (
    !/token|key|secret|password/i.test(path) && (typeof input !== "object" || input === null) && (JSON.stringify(input)?.length ?? 0) <= 80
  );
}
