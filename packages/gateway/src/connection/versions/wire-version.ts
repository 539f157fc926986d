/** What a protocol version is to a connection: projections of one domain. Nothing outside this folder asks which version a client speaks. */
import type { ErrorBody, EventName, Health, HelloOk, MethodName, PresenceEntry, ProtocolError, ProtocolVersion } from "@portreeve/protocol";
import type { Admission } from "../../identity/pairing.ts";
import { v3 } from "./v3.ts";
import { v4 } from "./v4.ts";

/** Everything a hello can say, before a version picks from it. */
export interface HelloFacts {
  readonly serverVersion: string;
  readonly bootId: string;
  readonly connId: string;
  readonly admission: Admission;
  readonly methods: Readonly<Record<ProtocolVersion, readonly string[]>>;
  readonly events: readonly string[];
  readonly health: Health;
  readonly healthVersion: number;
  /** Empty for who may not hear of it. */
  readonly presence: readonly PresenceEntry[];
  readonly presenceVersion: number;
  readonly uptimeMs: number;
  readonly sessionDefaults: HelloOk["snapshot"]["sessionDefaults"];
  /** Of this machine: told to `operator.admin` only. */
  readonly paths: { readonly configPath: string; readonly stateDir: string };
  readonly authMode: string;
}

export interface WireVersion {
  readonly protocol: ProtocolVersion;
  hello(facts: HelloFacts): unknown;
  error(error: ProtocolError): ErrorBody;
  /** Why a refused connection closes; not yet cut to length. */
  closeReason(error: ProtocolError): string;
  /** What a request asks for, in version 4's words. */
  params(method: string, params: unknown): unknown;
  accepted(method: MethodName, payload: unknown): unknown;
  result(method: MethodName, payload: unknown): unknown;
  event(name: EventName, payload: unknown): unknown;
  /** The result of a method, where the version has one for what is refused elsewhere. */
  insteadOfRefusal(method: string, error: ProtocolError): object | undefined;
}

export const wireVersions: Readonly<Record<ProtocolVersion, WireVersion>> = { 3: v3, 4: v4 };
