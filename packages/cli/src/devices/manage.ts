/** How the commands about devices reach the gateway: as a manager of all devices, and clearly where a gateway lacks a method. */
import { RemoteError, type GatewayClient } from "@portreeve/client";
import type { MethodName, ParamsInput, Result } from "@portreeve/protocol/wire";
import type { Access } from "../access.ts";
import { CliError } from "../exit.ts";
import type { DeviceList } from "./words.ts";

/** Without admin, a device that comes with its own token sees and manages itself alone. */
const managerScopes: readonly string[] = ["operator.admin", "operator.pairing"];

/** A connection that may manage every device, or this one alone when it may no more; with `more` scopes that a call must hold. */
export function openAsManager(access: Access, more: readonly string[] = []): Promise<GatewayClient> {
  const withMore = (scopes: readonly string[]): readonly string[] => [...new Set([...scopes, ...more])];
  return access.openWithMost(withMore(managerScopes), withMore(["operator.pairing"]));
}

export async function readDevices(access: Access): Promise<DeviceList> {
  using client = await openAsManager(access);
  return await client.call("device.pair.list", {});
}

/** Calls a method that gateways of earlier versions lack. @throws CliError that says what such a gateway cannot do. */
export async function callNewer<N extends MethodName>(
  client: GatewayClient,
  { method, params, what }: { method: N; params: ParamsInput<N>; what: string },
): Promise<Result<N>> {
  try {
    return await client.call(method, params);
  } catch (error) {
    if (!(error instanceof RemoteError && error.code === "UNKNOWN_METHOD")) throw error;
    throw cannot(client, { what, why: `it has no ${method}`, error });
  }
}

/** The gateway is too old for `what`. */
export function cannot(client: GatewayClient, { what, why, error }: { what: string; why: string; error: Error }): CliError {
  const { serverVersion } = client.hello;
  const which = serverVersion === undefined ? "This gateway" : `This gateway (version ${serverVersion})`;
  return new CliError("failed", `${which} cannot ${what}: ${why}.`, {
    code: "UNKNOWN_METHOD",
    remedy: "Update the gateway and start it again. What it can do: ./portreeve devices list, approve, reject.",
    cause: error,
  });
}
