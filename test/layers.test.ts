/** Who may import whom: the figure of ARCHITECTURE.md, held. Types count too: knowing a shape is knowing the layer. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { listImports, reach, readPackages, type Import } from "./support/imports.ts";

/** Inside the gateway. Every layer may also use itself, `kit` and the protocol package. */
const figure: Readonly<Record<string, readonly string[]>> = {
  main: ["compose", "models", "tools"],
  compose: [
    "start-check",
    "approvals",
    "audit",
    "connection",
    "http",
    "dispatch",
    "handlers",
    "cron",
    "identity",
    "runs",
    "nodes",
    "subagents",
    "models",
    "tools",
    "sql",
    "bus",
    "principal",
    "seams",
  ],
  connection: ["dispatch types", "identity", "http", "bus", "principal"],
  http: ["dispatch types", "identity", "principal", "bus"],
  commands: [],
  handlers: [
    "cron",
    "commands",
    "dispatch types",
    "identity",
    "approvals",
    "audit",
    "nodes",
    "subagents",
    "store",
    "model",
    "bus",
    "principal",
  ],
  dispatch: ["dispatch types", "principal"],
  audit: ["dispatch types", "store"],
  "start-check": ["identity", "tools", "tool"],
  doctor: ["start-check", "identity", "models", "machine", "sql", "store", "tools"],
  backup: ["doctor", "identity", "sql", "store"],
  importing: ["cron", "principal", "sql", "store"],
  identity: ["store", "bus", "principal"],
  runs: ["machine", "store", "model", "tool", "bus", "principal"],
  nodes: ["approvals", "identity", "store", "bus", "principal"],
  approvals: ["identity", "store", "bus", "principal"],
  cron: ["store", "bus"],
  subagents: ["store", "model", "bus", "principal"],
  sql: ["store", "principal"],
  models: ["model"],
  tools: ["tool"],
  bus: [],
  principal: [],
  seams: ["dispatch types", "store", "model", "tool"],
  "dispatch types": ["principal"],
  store: ["principal"],
  machine: ["store", "model"],
  model: [],
  tool: [],
  kit: [],
};

/** Layers that are single files: seams, which more may know than may know what is behind them. */
const seams: Readonly<Record<string, readonly string[]>> = {
  "dispatch types": ["dispatch/types.ts"],
  store: [
    "store/store.ts",
    "store/attempt-store.ts",
    "store/budgets.ts",
    "store/cron-store.ts",
    "store/audit-store.ts",
    "store/bearer-store.ts",
    "store/device-management.ts",
    "store/device-store.ts",
    "store/grants.ts",
    "store/inspection.ts",
    "store/deliveries.ts",
    "store/journal.ts",
    "store/nodes.ts",
    "store/node-work.ts",
    "store/approvals.ts",
    "store/process-store.ts",
    "store/run-views.ts",
    "store/setup-codes.ts",
    "store/admitting.ts",
    "store/spawning.ts",
    "store/importing.ts",
    "store/usage.ts",
    "store/claimer.ts",
    "store/compactions.ts",
  ],
  machine: ["runs/machine.ts"],
  model: [
    "models/model.ts",
    "models/completion-text.ts",
    "models/fork-text.ts",
    "models/repair-text.ts",
    "models/price.ts",
    "models/context-window.ts",
    "models/summary-text.ts",
  ],
  tool: ["tools/tool.ts", "tools/policy.ts"],
};

/** Not even through others. */
const never: readonly (readonly [string, string])[] = [
  ["handlers", "connection"],
  ["runs", "handlers"],
  ["tools", "runs"],
  ["subagents", "connection"],
  ...Object.keys(figure)
    .filter((layer) => layer !== "main" && layer !== "compose")
    .map((layer) => [layer, "compose"] as const),
];

/** What must stay off start-up, or may be absent. */
const lazy: readonly (readonly [from: string, specifier: string])[] = [
  ["packages/gateway/src/models/registry.ts", "./anthropic.ts"],
  ["packages/gateway/src/models/registry.ts", "./google.ts"],
  ["packages/gateway/src/models/registry.ts", "./openai.ts"],
  ["packages/gateway/src/models/registry.ts", "./openai-compatible.ts"],
  ["packages/client/src/connect.ts", "./pinned-socket.ts"],
  ["packages/client/src/connect.ts", "./tls-socket.ts"],
  ["packages/gateway/src/compose.ts", "./kit/qr.ts"],
  ["packages/gateway/src/cron/schedule.ts", "./expression.ts"],
  ["packages/cli/src/main.ts", "./program.ts"],
  ["packages/cli/src/target.ts", "@portreeve/gateway/config"],
  ["packages/cli/src/commands/gateway.ts", "@portreeve/gateway/main"],
  ["packages/cli/src/commands/audit.ts", "@portreeve/gateway/state"],
  ["packages/cli/src/commands/audit.ts", "@portreeve/gateway/explain"],
  ["packages/cli/src/commands/backup.ts", "@portreeve/gateway/backup"],
  ["packages/cli/src/commands/invite.ts", "@portreeve/gateway/qr"],
  ["packages/cli/src/commands/doctor.ts", "@portreeve/gateway/doctor"],
  ["packages/cli/src/commands/logs.ts", "@portreeve/gateway/log-file"],
  ["packages/cli/src/commands/import.ts", "@portreeve/gateway/import"],
  ["packages/cli/src/commands/import.ts", "@portreeve/gateway/ids"],
];

/** Packages that are not ours, and who may know them. */
const owners: Readonly<Record<string, RegExp>> = {
  zod: /^packages\/(protocol\/src|gateway\/src\/(tools|kit|models|runs|http))\//,
  // A client needs it for one thing alone: Node's own WebSocket cannot be held to a certificate.
  ws: /^packages\/(gateway\/src\/connection\/|client\/src\/pinned-socket\.ts$)/,
  kysely: /^packages\/gateway\/src\/store\//,
  pino: /^packages\/gateway\/src\/kit\//,
  json5: /^packages\/gateway\/src\/kit\//,
  "@ai-sdk": /^packages\/gateway\/src\/models\//,
  croner: /^packages\/gateway\/src\/cron\/expression\.ts$/,
  uqr: /^packages\/gateway\/src\/kit\/qr\.ts$/,
  // Its types: what is said to editors is held to the protocol, and nothing of it is loaded.
  "@agentclientprotocol": /^packages\/cli\/src\/acp\//,
  commander: /^packages\/cli\/src\//,
};

const { sources, entries } = readPackages(join(import.meta.dirname, ".."));
const imports = listImports(sources, entries);

test("every import follows the figure", () => {
  assert.deepEqual(findViolations(imports), []);
});

test("the figure leads nowhere it must never lead", () => {
  const broken = never.filter(([from, to]) => closure(from).has(to));

  assert.deepEqual(broken, []);
});

test("the clients' entry of the protocol loads no zod", () => {
  assert.deepEqual(loadedWith("packages/protocol/src/wire.ts", /^zod$/), []);
});

test("the command line loads no gateway, and the gateway no model provider and no cron expressions, until they are asked to", () => {
  const cli = [...sources.keys()]
    .filter((file) => file.startsWith("packages/cli/"))
    .flatMap((file) => loadedWith(file, /gateway\/src\/(main|compose)\.ts$|^(zod|ws|kysely|pino)$/));
  const gateway = loadedWith("packages/gateway/src/main.ts", /^(@ai-sdk\/|croner$)/);

  assert.deepEqual({ cli, gateway }, { cli: [], gateway: [] });
});

test("no list here names something that is gone", () => {
  const known = new Set(imports.map(({ from, specifier }) => `${from} ${specifier}`));
  const missing = [
    ...lazy.map((pair) => pair.join(" ")).filter((pair) => !known.has(pair)),
    ...Object.values(seams)
      .flat()
      .filter((file) => !sources.has(`packages/gateway/src/${file}`)),
  ];

  assert.deepEqual(missing, []);
});

test("a forbidden import is reported, whatever its form", () => {
  const forbidden = {
    "packages/gateway/src/handlers/chat.ts": 'import { open } from "../connection/connection.ts";',
    "packages/gateway/src/runs/worker.ts": 'import type {\n  Handlers,\n} from "../handlers/all.ts";',
    "packages/gateway/src/tools/read.ts": 'export { work } from "../runs/worker.ts";',
    "packages/gateway/src/subagents/spawn.ts": 'import "../connection/listener.ts";',
    "packages/gateway/src/identity/grant.ts": 'const { compose } = await import("../compose.ts");',
    "packages/gateway/src/runs/plan.ts": "await import(name);",
    "packages/gateway/src/handlers/agents.ts": 'import { Kysely } from "kysely";',
    "packages/gateway/src/connection/door.ts": 'import { STATUS_CODES, type IncomingMessage } from "node:http";',
    "packages/gateway/src/bus.ts": 'import { call } from "@portreeve/client";',
    "packages/client/src/connect.ts": 'import { methods } from "@portreeve/protocol";',
    "packages/cli/src/main.ts": 'import { main } from "@portreeve/gateway/main";',
    "packages/protocol/src/define.ts": 'import { Bus } from "../../gateway/src/bus.ts";',
  };
  const violations = findViolations(listImports(new Map(Object.entries(forbidden)), entries));

  assert.deepEqual([...new Set(violations.map((violation) => violation.split(" ", 1)[0]))], Object.keys(forbidden));
});

function loadedWith(entry: string, unwanted: RegExp): string[] {
  assert.ok(sources.has(entry), `${entry} is missing`);
  return [...reach(imports, entry)].filter((file) => unwanted.test(file));
}

/** One line an import that breaks a rule: `<file> imports <specifier>: <why not>`. */
function findViolations(all: readonly Import[]): string[] {
  return all.flatMap((found) => {
    const problem = findProblem(found);
    return problem === undefined ? [] : [`${found.from} imports ${found.specifier}: ${problem}`];
  });
}

function findProblem({ from, to, specifier, kind }: Import): string | undefined {
  if (kind === "dynamic" && !lazy.some(([file, name]) => file === from && name === specifier))
    return "dynamic, and not in the list of the layer test";
  if (specifier === "node:http" && kind !== "type") return "what its import loads is why there is kit/node-http.ts";
  if (specifier.startsWith("node:")) return undefined;
  if (!to.startsWith("packages/")) return findPackageProblem(from, to);
  const fromPackage = packageOf(from);
  if (specifier.startsWith(".") && packageOf(to) !== fromPackage) return "a relative path into another package";
  if (fromPackage !== packageOf(to)) return findNeighbourProblem(fromPackage, { to, kind });
  if (to === `packages/${fromPackage}/package.json`) return undefined;
  return fromPackage === "gateway" ? findLayerProblem(from, to) : undefined;
}

function findPackageProblem(from: string, specifier: string): string | undefined {
  const name = specifier.startsWith("@ai-sdk/") ? "@ai-sdk" : (specifier.split("/", 1)[0] ?? specifier);
  if (!Object.hasOwn(owners, name)) return "not a package of the list in the layer test";
  return owners[name]?.test(from) === true ? undefined : `${name} belongs to ${String(owners[name])}`;
}

function findNeighbourProblem(fromPackage: string, { to, kind }: Pick<Import, "to" | "kind">): string | undefined {
  const isTypeOrWire = kind === "type" || to === "packages/protocol/src/wire.ts";
  const allowed: Readonly<Record<string, boolean>> = {
    protocol: false,
    client: packageOf(to) === "protocol" && isTypeOrWire,
    gateway: packageOf(to) === "protocol",
    cli:
      (packageOf(to) === "protocol" && isTypeOrWire) ||
      packageOf(to) === "client" ||
      (packageOf(to) === "gateway" && (kind !== "value" || !/\/(main|compose)\.ts$/.test(to))),
  };
  return allowed[fromPackage] === true ? undefined : `${fromPackage} must not use that entry of ${packageOf(to)}`;
}

function findLayerProblem(from: string, to: string): string | undefined {
  const [user, used] = [layerOf(from), layerOf(to)];
  const allowed = figure[user] ?? [];
  if (user === used || used === "kit" || allowed.includes(used) || (allowed.includes("seams") && Object.hasOwn(seams, used)))
    return undefined;
  // A seam belongs to the folder it stands in.
  return folderOf(from) === folderOf(to) && Object.hasOwn(seams, used) ? undefined : `${user} → ${used} is not in the figure`;
}

function closure(from: string): ReadonlySet<string> {
  const reached = new Set<string>(figure[from]);
  for (const layer of reached) for (const next of figure[layer] ?? []) reached.add(next);
  return reached;
}

function packageOf(path: string): string {
  return path.split("/")[1] ?? path;
}

function folderOf(path: string): string {
  return path.split("/")[3] ?? path;
}

function layerOf(path: string): string {
  const inside = path.replace("packages/gateway/src/", "");
  const seam = Object.entries(seams).find(([, files]) => files.includes(inside));
  if (seam !== undefined) return seam[0];
  const first = (inside.split("/", 1)[0] ?? inside).replace(/\.ts$/, "");
  return first === "store" ? "sql" : first;
}
