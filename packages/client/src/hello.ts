/** The gateway's answer to `connect`, as far as a client needs it: everything but the version may be missing. */
import { isRecord, limits } from "@portreeve/protocol/wire";

export interface Hello {
  readonly protocol: number;
  /** Methods the gateway says it has; empty when it does not say. */
  readonly methods: readonly string[];
  readonly events: readonly string[];
  readonly serverVersion: string | undefined;
  readonly tickIntervalMs: number;
  /** The device's token, when the gateway issued one. */
  readonly deviceToken: string | undefined;
  /** How the gateway recognised us (`token`, `device-token`, …); undefined when it does not say. */
  readonly authMethod: string | undefined;
  /** What this connection may do; undefined when the gateway does not say. */
  readonly scopes: readonly string[] | undefined;
}

/** Reads the payload of the answer, or undefined when it is no hello. */
export function parseHello(payload: unknown): Hello | undefined {
  if (!isRecord(payload) || payload["type"] !== "hello-ok") return undefined;
  const protocol = payload["protocol"];
  if (typeof protocol !== "number") return undefined;
  const features = recordOf(payload["features"]);
  const auth = recordOf(payload["auth"]);
  const tickIntervalMs = recordOf(payload["policy"])["tickIntervalMs"];
  return {
    protocol,
    methods: stringsOf(features["methods"]),
    events: stringsOf(features["events"]),
    serverVersion: stringOf(recordOf(payload["server"])["version"]),
    tickIntervalMs: typeof tickIntervalMs === "number" && tickIntervalMs > 0 ? tickIntervalMs : limits.tickIntervalMs,
    deviceToken: stringOf(auth["deviceToken"]),
    authMethod: stringOf(auth["method"]),
    scopes: Array.isArray(auth["scopes"]) ? stringsOf(auth["scopes"]) : undefined,
  };
}

function recordOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function stringOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}
