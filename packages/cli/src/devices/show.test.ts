import assert from "node:assert/strict";
import { test } from "node:test";
import { at, ownDevice, pairedDevice, upgradeRequest } from "./fixtures.ts";
import { showDevices, showRequest } from "./show.ts";
import type { DeviceGrant, PairedDevice } from "./words.ts";

const reader = { nowMs: at, deviceId: ownDevice.deviceId };

test("those who wait come first, with what is new about them; then who is paired, what it may do and how it came in", () => {
  const text = showDevices({ pending: [upgradeRequest], paired: [ownDevice, pairedDevice] }, reader);

  assert.deepEqual(text.split("\n"), [
    "Waiting (./portreeve devices approve REQUEST, or reject REQUEST):",
    "REQUEST   DEVICE              FROM       ASKS FOR     NEW    ASKED      EXPIRES   WORDS",
    "4f9d1c2a  Kitchen (dddddddd)  192.0.2.7  read, write  write  1 min ago  in 4 min  -",
    "",
    "Paired:",
    "DEVICE    NAME          CLIENT             MAY                 PAIRED             LAST SEEN  APPROVED",
    "eeeeeeee  - (this one)  cli, linux         everything (admin)  2026-01-02 03:04Z  connected  silently, on this machine",
    "dddddddd  Kitchen       webchat-ui, linux  read                2026-01-02 03:04Z  3 h ago    by hand",
  ]);
});

test("a device that asks again goes by the name it was given here", () => {
  const known = { ...pairedDevice, displayName: "Tablet", operatorLabel: "Tablet" };

  assert.match(showDevices({ pending: [upgradeRequest], paired: [known] }, reader), /^4f9d1c2a {2}Tablet \(dddddddd\)/m);
  assert.match(showRequest(upgradeRequest, known, at), /approved for\. You named it Tablet\.\n/);
});

test("a stranger's name cannot forge the table", () => {
  const text = showDevices({ pending: [{ ...upgradeRequest, displayName: "x\u001b[1A\u001b[2K\nPaired: me" }], paired: [] }, reader);

  assert.match(text, /^4f9d1c2a {2}x Paired: me \(dddddddd\)/m);
  assert.equal(text.split("\n").length, 5);
});

test("a stranger's name cannot forge what is asked about", () => {
  const text = showRequest({ ...upgradeRequest, displayName: "x\nnew  nothing\u001b[1A" }, pairedDevice, at);

  assert.equal(text.split("\n").length, 9);
  assert.match(text, /^says it is {2}x new nothing, webchat-ui/m);
});

test("what is asked about says what is new against what is approved", () => {
  assert.deepEqual(showRequest({ ...upgradeRequest, platform: "linux" }, pairedDevice, at).split("\n"), [
    "Request 4f9d1c2a: a paired device asks for more than it is approved for.",
    "asks for    read, write",
    "approved    read",
    "new         write",
    "from        192.0.2.7",
    "says it is  Kitchen, webchat-ui (webchat), linux",
    `device      ${"d".repeat(64)}`,
    "asked       1 min ago",
    "expires     in 4 min",
  ]);
});

const withGrant = (grant: Partial<DeviceGrant>): PairedDevice => ({
  ...pairedDevice,
  tokens: pairedDevice.tokens.map((token) => ({ ...token, ...grant })),
});

test("an elevation is told with the time that is left, and not any more when it is over", () => {
  const elevated = withGrant({ elevatedScopes: ["operator.admin"], elevatedUntilMs: at + 600_000 });

  assert.match(showDevices({ pending: [], paired: [elevated] }, reader), /read; everything \(admin\) for 10 min more/);
  assert.doesNotMatch(showDevices({ pending: [], paired: [elevated] }, { ...reader, nowMs: at + 600_000 }), /admin/);
});

test("a token that was narrowed says so beside what is approved", () => {
  assert.match(showDevices({ pending: [], paired: [withGrant({ scopes: [] })] }, reader), / read; its token only: nothing /);
});

test("a device that was revoked says so", () => {
  assert.match(showDevices({ pending: [], paired: [withGrant({ revokedAtMs: at })] }, reader), /nothing \(revoked\)/);
});

test("without devices there is a sentence", () => {
  assert.equal(showDevices({ pending: [], paired: [] }, reader), "No device is paired.");
});
