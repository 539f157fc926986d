/** Devices and requests as tables and lines. All pure; `nowMs` is the reader's clock. */
import { coversAll } from "@portreeve/protocol/wire";
import { oneLine, toMinute, toTable } from "../output.ts";
import {
  liveGrants,
  nameOfRequest,
  shortId,
  tellNew,
  tellOrigin,
  tellRights,
  tellScopes,
  tellSpan,
  type DeviceList,
  type PairedDevice,
  type PairingRequest,
} from "./words.ts";

export interface Reader {
  readonly nowMs: number;
  /** The device that reads, to mark it; undefined: none is marked. */
  readonly deviceId: string | undefined;
}

/** Two tables, the waiting ones first. */
export function showDevices({ pending, paired }: DeviceList, reader: Reader): string {
  const parts = [
    ...(pending.length === 0 ? [] : [showWaiting({ pending, paired }, reader)]),
    paired.length === 0 ? "No device is paired." : showPaired(paired, reader),
  ];
  return parts.join("\n\n");
}

/** Everything a person should see before saying yes to `request`. */
export function showRequest(request: PairingRequest, known: PairedDevice | undefined, nowMs: number): string {
  const { displayName, clientId, clientMode, platform, deviceFamily } = request;
  const approved = known === undefined ? undefined : tellRights(known);
  const rows = [
    ["asks for", tellRights(request)],
    ["approved", approved ?? "nothing yet: it is not paired"],
    ["new", tellNew(request, known)],
    ["from", tellOrigin(request.remoteIp)],
    ["says it is", [displayName, `${clientId} (${clientMode})`, platform, deviceFamily].filter((fact) => fact !== undefined).join(", ")],
    ["device", request.deviceId],
    ["asked", `${tellSpan(nowMs - request.ts)} ago`],
    ["expires", tellExpiry(request, nowMs)],
    ...(request.words === undefined ? [] : [["words", `${request.words} (the device shows the same ones, or somebody stands between)`]]),
  ];
  const label = known?.operatorLabel === undefined ? "" : ` You named it ${oneLine(known.operatorLabel)}.`;
  const what = `Request ${shortId(request.requestId)}: ${reasons[request.reason]}${label}`;
  return `${what}\n${toTable(["", ""], rows).trimStart()}`;
}

const reasons: Readonly<Record<PairingRequest["reason"], string>> = {
  "not-paired": "a device that is not paired asks to be let in.",
  "role-upgrade": "a paired device asks for another role.",
  "scope-upgrade": "a paired device asks for more than it is approved for.",
  "metadata-upgrade": "a paired device says that it runs on something else than before.",
};

function showWaiting({ pending, paired }: DeviceList, { nowMs }: Reader): string {
  const rows = pending.map((request) => {
    const known = paired.find(({ deviceId }) => deviceId === request.deviceId);
    return [
      shortId(request.requestId),
      nameOfRequest(request, known),
      tellOrigin(request.remoteIp),
      tellRights(request),
      tellNew(request, known),
      `${tellSpan(nowMs - request.ts)} ago`,
      tellExpiry(request, nowMs),
      request.words ?? "-",
    ];
  });
  const headings = ["REQUEST", "DEVICE", "FROM", "ASKS FOR", "NEW", "ASKED", "EXPIRES", "WORDS"];
  return `Waiting (./portreeve devices approve REQUEST, or reject REQUEST):\n${toTable(headings, rows)}`;
}

function showPaired(paired: readonly PairedDevice[], { nowMs, deviceId: own }: Reader): string {
  const rows = paired.map((device) => [
    shortId(device.deviceId),
    `${device.displayName ?? "-"}${device.deviceId === own ? " (this one)" : ""}`,
    `${device.clientId}, ${device.platform ?? "platform unknown"}`,
    tellDeviceRights(device, nowMs),
    toMinute(device.createdAtMs),
    device.connected ? "connected" : device.lastSeenAtMs === undefined ? "never" : `${tellSpan(nowMs - device.lastSeenAtMs)} ago`,
    approvals[device.approvedVia],
  ]);
  const headings = ["DEVICE", "NAME", "CLIENT", "MAY", "PAIRED", "LAST SEEN", "APPROVED"];
  return `Paired:\n${toTable(headings, rows)}`;
}

const approvals: Readonly<Record<PairedDevice["approvedVia"], string>> = {
  silent: "silently, on this machine",
  owner: "by hand",
  bootstrap: "by a setup code",
  bearer: "by hand, as a bearer",
};

/** What it may do, what its token was narrowed to, what more it may do for a while, or that everything was revoked. */
function tellDeviceRights(device: PairedDevice, nowMs: number): string {
  const grants = liveGrants(device);
  if (device.tokens.length > 0 && grants.length === 0) return "nothing (revoked)";
  const elevated = grants.flatMap(({ elevatedScopes = [], elevatedUntilMs = 0 }) =>
    elevatedUntilMs > nowMs ? [`${tellScopes(elevatedScopes)} for ${tellSpan(elevatedUntilMs - nowMs)} more`] : [],
  );
  const narrowed = grants.flatMap(({ role, scopes }) =>
    role === "operator" && !coversAll(scopes, device.scopes) ? [`its token only: ${tellScopes(scopes)}`] : [],
  );
  return [tellRights(device), ...narrowed, ...elevated].join("; ");
}

function tellExpiry({ expiresAtMs }: PairingRequest, nowMs: number): string {
  return expiresAtMs <= nowMs ? "expired" : `in ${tellSpan(expiresAtMs - nowMs)}`;
}
