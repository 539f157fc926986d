import assert from "node:assert/strict";
import test from "node:test";
import { createIds, type Ids } from "./ids.ts";

/** More than fit into one millisecond. */
const many = 10_000;

const kinds: readonly (readonly [string, (ids: Ids) => string, RegExp])[] = [
  ["prefixed ids", (ids) => ids.next("run"), /^run_[0-9a-f]{33}$/],
  ["ordered UUIDs", (ids) => ids.orderedUuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/],
];

for (const [name, make, form] of kinds) {
  test(`${name} are of one form and sort in the order they were made, whatever the clock does`, () => {
    const times = [1_800_000_000_000, 1_800_000_000_000, 1_799_999_000_000, 1_800_000_000_001, 1_800_000_000_002, 1_800_000_000_009];
    let nowMs = 0;
    const ids = createIds(() => nowMs);

    const made = times.flatMap((timeMs) => {
      nowMs = timeMs;
      return Array.from({ length: many }, () => make(ids));
    });

    for (const id of made) assert.match(id, form);
    const notLater = made.find((id, index) => index > 0 && id <= (made[index - 1] ?? ""));
    assert.equal(notLater, undefined);
  });
}

test("ordered UUIDs begin with the time in milliseconds", () => {
  const ids = createIds(() => 0x0123_4567_89ab);

  const made = [ids.orderedUuid(), ids.orderedUuid(), ids.orderedUuid()];

  assert.deepEqual(
    made.map((id) => id.slice(0, 13)),
    Array(3).fill("01234567-89ab"),
  );
});

test("two sources at the same moment make different ids", () => {
  const made = Array.from({ length: 1_000 }, () => createIds(() => 1).orderedUuid());

  assert.equal(new Set(made.map((id) => id.slice(19))).size, made.length);
});

test("an unordered UUID tells nothing of its time", () => {
  assert.match(createIds(() => 1).uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
});
