import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../kit/manual-clock.ts";
import { devicePrincipal, secretPrincipal } from "../principal/principal.ts";
import { Presence } from "./presence.ts";

const self = { reason: "self", text: "Gateway", mode: "gateway" };
const client = { id: "webchat-ui", mode: "ui", version: "9", platform: "web" } as const;
const owner = devicePrincipal({ deviceId: "d1", role: "operator", scopes: ["operator.read"] });

function open() {
  const clock = new ManualClock();
  const told: number[] = [];
  const presence = new Presence({ clock, self, onChanged: () => void told.push(presence.version) });
  return { clock, told, presence };
}

test("the gateway is here first, then the newest; who left is not", () => {
  const { clock, presence } = open();
  const start = clock.now();
  presence.arrive({ connId: "a", principal: owner, client });
  clock.advance(5);
  presence.arrive({ connId: "b", principal: secretPrincipal(["operator.read"]), client: { ...client, displayName: "Desk" } });
  const both = presence.list();
  presence.leave("a");

  assert.deepEqual(both[0], { ...self, ts: start });
  assert.deepEqual(
    both.slice(1).map(({ host, ts, deviceId }) => [host, ts, deviceId]),
    [
      ["Desk", start + 5, undefined],
      ["webchat-ui", start, "d1"],
    ],
  );
  assert.deepEqual(
    presence.list().map(({ host }) => host),
    [undefined, "Desk"],
  );
});

test("command lines, back ends and probes come and go unseen", () => {
  const { presence } = open();
  const before = presence.version;

  for (const mode of ["cli", "backend", "probe"] as const) presence.arrive({ connId: mode, principal: owner, client: { ...client, mode } });
  presence.leave("cli");

  assert.deepEqual([presence.list().length, presence.version], [1, before]);
});

test("changes close together are told once, with the newest number", () => {
  const { clock, presence, told } = open();

  for (const connId of ["a", "b", "c"]) presence.arrive({ connId, principal: owner, client });
  presence.leave("a");
  const early = [...told];
  clock.advance(250);
  clock.advance(10_000);

  assert.deepEqual([early, told, presence.version], [[], [4], 4]);
});

test("what somebody says stands with their connection; whose it is, theirs cannot say", () => {
  const { clock, presence } = open();
  presence.arrive({ connId: "a", principal: owner, client });

  presence.say(owner, { text: "Node: desk", host: "desk", reason: "launch" });
  presence.say(secretPrincipal(["operator.admin"]), { text: "on call" });

  const [, guest, alone] = presence.list();
  assert.deepEqual([guest?.text, guest?.host, guest?.reason, guest?.deviceId], ["Node: desk", "desk", "launch", "d1"]);
  assert.deepEqual(alone, { text: "on call", reason: "system-event", ts: clock.now() });
});

test("what was said is gone after five minutes, and there are never many", () => {
  const { clock, presence } = open();
  for (let index = 0; index < 100; index += 1) {
    presence.say(devicePrincipal({ deviceId: `d${index}`, role: "operator", scopes: [] }), { text: `t${index}` });
  }
  const most = presence.list().length;
  clock.advance(300_000);

  assert.deepEqual([most, presence.list().length], [65, 1]);
});

test("a long name is cut and a long list too", () => {
  const { presence } = open();
  for (let index = 0; index < 300; index += 1) {
    presence.arrive({ connId: `c${index}`, principal: owner, client: { ...client, displayName: "n".repeat(5_000) } });
  }

  const list = presence.list();

  assert.deepEqual([list.length, list[1]?.host?.length], [200, 200]);
});

test("a crowd is told of fewer, and less often, so that what goes out stays bounded; who asks sees the long list", () => {
  const { clock, presence, told } = open();
  for (let index = 0; index < 10_000; index += 1) presence.arrive({ connId: `c${index}`, principal: owner, client });

  const [first, ...newest] = presence.listForAll();
  clock.advance(250);
  presence.leave("c0");
  clock.advance(12_499);
  const early = [...told];
  clock.advance(1);

  assert.equal(first?.reason, "self");
  assert.equal(newest.length, 1);
  assert.equal(presence.list().length, 200);
  assert.deepEqual([early, told], [[10_000], [10_000, 10_001]]);
});

test("a household is told of everyone", () => {
  const { presence } = open();
  for (let index = 0; index < 100; index += 1) presence.arrive({ connId: `c${index}`, principal: owner, client });

  assert.deepEqual(presence.listForAll(), presence.list());
});
