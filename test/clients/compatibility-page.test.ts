import assert from "node:assert/strict";
import test from "node:test";
import { createCompatibilityPage } from "./compatibility-page.ts";

test("a client has one table, with a line a flow and a column a version, and what is to be known of a flow below it", () => {
  const of = { client: "c" };
  const page = createCompatibilityPage([
    { ...of, version: "4", name: "send", note: "not far", outcome: { kind: "passed", upgrade: "not asked" } },
    { ...of, version: "3", name: "send", note: "not far", outcome: { kind: "passed", upgrade: "cured" } },
    { ...of, version: "4", name: "read", outcome: { kind: "failed", why: "it | broke" } },
    { client: "d", version: "1", name: "look", outcome: { kind: "skipped", why: "no | browser\nhere" } },
  ]);

  assert.match(page, /^2 flows work, 1 do not, 1 not tried\.$/m);
  assert.deepEqual(
    page.split("\n").filter((line) => /^(\| |## |\*)/.test(line)),
    [
      "## c",
      "| flow | 4 | 3 |",
      "| --- | --- | --- |",
      "| send | works | works; upgrade cured by one approval |",
      "| read | **does not work** |  |",
      "*send*: not far",
      "## d",
      "| flow | 1 |",
      "| --- | --- |",
      "| look | not tried: no \\| browser |",
    ],
  );
});
