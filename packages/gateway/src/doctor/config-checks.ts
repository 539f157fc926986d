/** Checks of the configuration: who can reach the gateway and how, the models' keys, the agents' folders. Pure. */
import { isRecord } from "@portreeve/protocol";
import { shellQuote as quote } from "../kit/shell-quote.ts";
import type { ConfigFacts, DoctorFacts, ModeProblem } from "./facts.ts";
import { type Finding, named, orOk } from "./findings.ts";

const shortestSecret = 20;

export function checkConfig({ config, configFile }: DoctorFacts): readonly Finding[] {
  const { ok, problem } = named("configuration");
  if (config.kind === "broken") {
    const edit = config.cure ?? `correct ${configFile}; every key is in docs/reference/config.md`;
    return config.problem.split("\n").map((line) => problem(line, edit));
  }
  const { startProblem, modeProblem } = config;
  return orOk(
    [
      ...(startProblem === undefined
        ? []
        : [problem(`the gateway does not start: ${startProblem}`, `put that right in ${configFile}, then: ./portreeve gateway run`)]),
      ...(modeProblem === undefined ? [] : [checkMode(modeProblem, config.holdsSecret)]),
    ],
    ok(`every key in ${configFile} is known and has a value that fits; a missing file is an empty one`),
  );
}

function checkMode({ path, mode, allowed }: ModeProblem, holdsSecret: boolean): Finding {
  const what = holdsSecret ? "it holds a secret and is open to others" : "others may write it, and so decide what the gateway does";
  return named("configuration").problem(`${path}: ${what}; its mode is ${mode}`, `chmod ${allowed} ${quote(path)}`);
}

export function checkExposure({ config, configFile }: DoctorFacts): readonly Finding[] {
  const { ok, note } = named("exposure");
  if (config.kind === "broken") return [note("not looked at: the configuration cannot be read")];
  const found = [...checkBind(config, configFile), ...checkSecret(config), ...checkOrigins(config, configFile), ...checkProxies(config)];
  return orOk(found, ok(config.bind === "loopback" ? "reachable from this machine only" : `reachable under ${config.bind}, encrypted`));
}

function checkBind({ bind, publicUrl, hasTls, startProblem }: ConfigFacts, configFile: string): readonly Finding[] {
  const { problem } = named("exposure");
  const isPlainUrl = publicUrl !== undefined && /^(http|ws):/.test(publicUrl) && !isLoopbackHost(URL.parse(publicUrl)?.hostname);
  if (isPlainUrl) {
    return [
      problem(
        `gateway.publicUrl is ${publicUrl}: secrets and tokens cross the network in the clear`,
        `serve it over https, and say so in ${configFile}`,
      ),
    ];
  }
  // What does not start reaches nobody.
  if (isLoopbackHost(bind) || hasTls || publicUrl !== undefined || startProblem !== undefined) return [];
  return [
    problem(
      `gateway.bind is ${bind} without TLS: secrets and tokens cross the network in the clear`,
      `set gateway.bind to loopback in ${configFile}, and let a proxy with TLS or an SSH tunnel reach it`,
    ),
  ];
}

function checkSecret({ secretLength }: ConfigFacts): readonly Finding[] {
  if (secretLength === undefined || secretLength >= shortestSecret) return [];
  const text = `the shared secret was chosen by hand and has ${secretLength} characters; fewer than ${shortestSecret} can be guessed`;
  return [named("exposure").problem(text, "openssl rand -base64 32   # as gateway.auth.token or PORTREEVE_TOKEN")];
}

function checkOrigins({ allowedOrigins }: ConfigFacts, configFile: string): readonly Finding[] {
  const { problem } = named("exposure");
  return allowedOrigins
    .filter((origin) => origin.startsWith("http:") && !isLoopbackHost(URL.parse(origin)?.hostname))
    .map((origin) =>
      problem(
        `gateway.allowedOrigins has ${origin}: whoever is on its network can put a page there`,
        `use https:// for it in ${configFile}`,
      ),
    );
}

function checkProxies({ trustedProxies, publicUrl }: ConfigFacts): readonly Finding[] {
  const { note } = named("exposure");
  const local = trustedProxies.filter(isLoopbackHost);
  return [
    ...(local.length === 0
      ? []
      : [note(`gateway.trustedProxies has ${local.join(", ")}: every program on this machine may claim any address`)]),
    ...(trustedProxies.length === 0 || publicUrl !== undefined
      ? []
      : [note("gateway.trustedProxies is set and gateway.publicUrl is not: requests under the proxy's name are refused (421)")]),
  ];
}

export function checkModels({ config }: DoctorFacts): readonly Finding[] {
  const { ok, note, problem } = named("models");
  if (config.kind === "broken") return [note("not looked at: the configuration cannot be read")];
  const bad = config.models.filter((one) => one.problem !== undefined);
  const cure = "set it where this says: in the configuration, or in the environment that starts the gateway";
  return orOk(
    [
      ...bad.map(({ agentId, problem: text }) => problem(`agent ${agentId}: ${text ?? ""}`, cure)),
      ...config.unusableFallbacks.map(({ agentId, model, problem: text }) => problem(`agent ${agentId}, fallback ${model}: ${text}`, cure)),
    ],
    ok(config.models.map(({ agentId, model }) => `${agentId} uses ${model}`).join(", ")),
  );
}

export function checkWorkspaces({ config }: DoctorFacts): readonly Finding[] {
  const { ok, note, problem } = named("workspaces");
  if (config.kind === "broken") return [note("not looked at: the configuration cannot be read")];
  return orOk(
    config.missingWorkspaces.map(({ agentId, path }) => problem(`agent ${agentId}: ${path} is no folder`, `mkdir -p ${quote(path)}`)),
    ok("every configured folder exists"),
  );
}

/** Whether the gateway itself encrypts: never assumed, only when its configuration has a `tls.mode` other than `off`. */
export function hasTls(gateway: object): boolean {
  if (!("tls" in gateway) || !isRecord(gateway.tls)) return false;
  const { mode } = gateway.tls;
  return typeof mode === "string" && mode !== "off";
}

function isLoopbackHost(host: string | undefined): boolean {
  const name = (host ?? "").replace(/^\[(.*)\]$/, "$1");
  return name === "loopback" || name === "localhost" || name === "::1" || /^127\.\d+\.\d+\.\d+$/.test(name);
}
