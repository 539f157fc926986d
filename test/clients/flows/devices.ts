/** Devices for flows that decide about one: paired, and asking for more. */
import { connectWire, createWireKey, refusedConnect, type WireKey } from "../../support/wire-client.ts";
import type { Rig } from "../rig.ts";

export async function pairDevice(rig: Rig): Promise<WireKey> {
  const key = createWireKey();
  await canConnectWith(rig, key, ["operator.read"]);
  return key;
}

export async function askForMore(rig: Rig): Promise<{ readonly key: WireKey; readonly requestId: string }> {
  const key = await pairDevice(rig);
  const { url, token } = rig.gateway;
  const { error } = await refusedConnect(url, { key, token, scopes: ["operator.read", "operator.write"] });
  return { key, requestId: String(error.details?.["requestId"]) };
}

/** @throws When it is refused. */
export async function canConnectWith({ gateway: { url, token } }: Rig, key: WireKey, scopes: readonly string[]): Promise<void> {
  await using _wire = await connectWire(url, { key, token, scopes });
}
