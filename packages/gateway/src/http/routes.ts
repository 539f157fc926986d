/** The policy table of HTTP: which paths there are, with which methods, what a caller must present, and what each one calls. */
import type { MethodName } from "@portreeve/protocol";

/** A health probe: nothing to present, and load balancers may ask through proxies nobody listed. */
interface ProbeRoute {
  readonly methods: readonly string[];
  readonly auth: "none";
}

/** A door to one method: its scope, parameters and authorisation are the method's own. */
interface BearerRoute {
  readonly methods: readonly string[];
  readonly auth: "bearer";
  readonly calls: MethodName;
  /** More is refused before it is read. */
  readonly maxBodyBytes: number;
  /** Whose words it is answered in. */
  readonly words: "gateway" | "openai";
}

/** A door to a run that is told of as it goes; whoever leaves before its end stops it. */
interface RunRoute extends BearerRoute {
  readonly calls: "agent";
  readonly stops: "chat.abort";
}

/** A door to something that goes on: asked for in events, what is added is told too, each time read through the method anew. */
interface FeedRoute extends BearerRoute {
  readonly goesOn: true;
}

const probe = { methods: ["GET", "HEAD"], auth: "none" } as const satisfies ProbeRoute;

const history = {
  methods: ["GET"],
  auth: "bearer",
  calls: "chat.history",
  goesOn: true,
  maxBodyBytes: 0,
  words: "gateway",
} as const satisfies FeedRoute;
const models = { methods: ["GET"], auth: "bearer", calls: "agents.list", maxBodyBytes: 0, words: "openai" } as const satisfies BearerRoute;
const run = {
  methods: ["POST"],
  auth: "bearer",
  calls: "agent",
  stops: "chat.abort",
  maxBodyBytes: 8_388_608,
  words: "openai",
} as const satisfies RunRoute;

/** A path that is not here is not served, and a path here without an answer does not compile. `{name}` is one part of a path. */
export const routes = {
  "/health": probe,
  "/healthz": probe,
  "/ready": probe,
  "/readyz": probe,
  "/startup": probe,
  "/startupz": probe,
  "/sessions/{key}/history": history,
  "/tools/invoke": { methods: ["POST"], auth: "bearer", calls: "tools.invoke", maxBodyBytes: 1_048_576, words: "gateway" },
  "/v1/chat/completions": run,
  "/v1/responses": run,
  "/v1/models": models,
  "/v1/models/{id}": models,
  "/v1/models/{prefix}/{id}": models,
} as const satisfies Record<string, ProbeRoute | BearerRoute | FeedRoute | RunRoute>;

export type Path = keyof typeof routes;
export type ProbePath = { [P in Path]: (typeof routes)[P]["auth"] extends "none" ? P : never }[Path];
export type BearerPath = Exclude<Path, ProbePath>;
export type RunPath = { [P in BearerPath]: (typeof routes)[P] extends { stops: string } ? P : never }[BearerPath];
export type FeedPath = { [P in BearerPath]: (typeof routes)[P] extends { goesOn: true } ? P : never }[BearerPath];
export type CalledBy<P extends BearerPath> = (typeof routes)[P]["calls"];

/** The route of a request, with what stands in its places. */
export type FoundRoute =
  | { readonly auth: "none"; readonly path: ProbePath }
  | { readonly auth: "bearer"; readonly path: BearerPath; readonly places: Readonly<Record<string, string>> };

export function findRoute(url: string | undefined): FoundRoute | undefined {
  const asked = URL.parse(url ?? "", "http://gateway")?.pathname.split("/");
  // The table's own keys, in its order: nothing that was asked for is ever looked up as a key.
  for (const path of Object.keys(routes) as Path[]) {
    const places = asked && matchParts(path.split("/"), asked);
    if (places === undefined) continue;
    return isProbe(path) ? { auth: "none", path } : { auth: "bearer", path, places };
  }
  return undefined;
}

export function isRunPath(path: BearerPath): path is RunPath {
  return "stops" in routes[path];
}

export function isFeedPath(path: BearerPath): path is FeedPath {
  return "goesOn" in routes[path];
}

/** @throws when what is served is not what the table has: nothing is served then. */
export function assertListed(served: readonly string[]): void {
  const listed = Object.keys(routes);
  const unlisted = served.filter((path) => !listed.includes(path));
  const unserved = listed.filter((path) => !served.includes(path));
  if (unlisted.length + unserved.length > 0)
    throw new Error(`routes without a row: ${unlisted.join(", ") || "none"}; rows without a route: ${unserved.join(", ") || "none"}`);
}

function isProbe(path: Path): path is ProbePath {
  return routes[path].auth === "none";
}

function matchParts(pattern: readonly string[], asked: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== asked.length) return undefined;
  const places: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const value = asked[index] ?? "";
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    const decoded = name === undefined ? undefined : decode(value);
    if (name === undefined ? value !== part : decoded === undefined || decoded === "") return undefined;
    if (name !== undefined && decoded !== undefined) places[name] = decoded;
  }
  return places;
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}
