/** What changed in pairing between two looks at the list. Pure. */
import {
  liveGrants,
  nameOf,
  shortId,
  tellNew,
  tellOrigin,
  tellRights,
  type DeviceList,
  type PairedDevice,
  type PairingRequest,
} from "./words.ts";

/** `decided`: while nobody was listening. */
export type Settled = "approved" | "rejected" | "expired" | "decided";

export type DeviceChange =
  | { readonly kind: "requested"; readonly request: PairingRequest; readonly known: PairedDevice | undefined }
  | { readonly kind: "settled"; readonly request: PairingRequest; readonly how: Settled }
  | { readonly kind: "paired"; readonly device: PairedDevice }
  | { readonly kind: "removed"; readonly device: PairedDevice }
  | { readonly kind: "changed"; readonly device: PairedDevice; readonly before: PairedDevice };

/** `decisions`: what was heard about requests meanwhile, by request id. */
export function findChanges(
  before: DeviceList,
  after: DeviceList,
  { decisions, nowMs }: { decisions: ReadonlyMap<string, "approved" | "rejected">; nowMs: number },
): readonly DeviceChange[] {
  const knownBefore = new Map(before.paired.map((device) => [device.deviceId, device]));
  const knownAfter = new Map(after.paired.map((device) => [device.deviceId, device]));
  const waitedBefore = new Set(before.pending.map(({ requestId }) => requestId));
  const waitsAfter = new Set(after.pending.map(({ requestId }) => requestId));
  const howSettled = ({ requestId, expiresAtMs }: PairingRequest): Settled =>
    decisions.get(requestId) ?? (expiresAtMs <= nowMs ? "expired" : "decided");
  return [
    ...before.pending
      .filter(({ requestId }) => !waitsAfter.has(requestId))
      .map((request) => ({ kind: "settled", request, how: howSettled(request) }) as const),
    ...before.paired.filter(({ deviceId }) => !knownAfter.has(deviceId)).map((device) => ({ kind: "removed", device }) as const),
    ...after.paired.flatMap((device) => compare(knownBefore.get(device.deviceId), device)),
    ...after.pending
      .filter(({ requestId }) => !waitedBefore.has(requestId))
      .map((request) => ({ kind: "requested", request, known: knownAfter.get(request.deviceId) }) as const),
  ];
}

/** One line a change. */
export function tellChange(change: DeviceChange): string {
  switch (change.kind) {
    case "requested": {
      const { request, known } = change;
      const what = `${nameOf(request)} from ${tellOrigin(request.remoteIp)} asks for: ${tellRights(request)}; new: ${tellNew(request, known)}`;
      return `waits: ${what}. Decide: ./portreeve devices approve ${shortId(request.requestId)} (or reject)`;
    }
    case "settled":
      return `${change.how}: the request of ${nameOf(change.request)} for: ${tellRights(change.request)}`;
    case "paired":
      return `paired: ${nameOf(change.device)} may: ${tellRights(change.device)}`;
    case "removed":
      return `removed: ${nameOf(change.device)}`;
    case "changed":
      return `changed: ${nameOf(change.device)} may: ${tellRights(change.device)} (before: ${nameOf(change.before)} ${tellRights(change.before)})`;
  }
}

function compare(before: PairedDevice | undefined, device: PairedDevice): readonly DeviceChange[] {
  if (before === undefined) return [{ kind: "paired", device }];
  return authorityOf(before) === authorityOf(device) ? [] : [{ kind: "changed", device, before }];
}

/** Its name and everything it may do; not when it was last seen. */
function authorityOf(device: PairedDevice): string {
  const grants = liveGrants(device).map(({ role, scopes, elevatedScopes, elevatedUntilMs, rotatedAtMs }) => [
    role,
    scopes,
    elevatedScopes,
    elevatedUntilMs,
    rotatedAtMs,
  ]);
  return JSON.stringify([device.displayName, grants]);
}
