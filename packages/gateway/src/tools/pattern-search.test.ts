import assert from "node:assert/strict";
import { test } from "node:test";
import { searchLines } from "./pattern-search.ts";

test("slow searches take turns with everybody else", { timeout: 60_000 }, async () => {
  const order: string[] = [];
  const search = async (index: number): Promise<void> => {
    const texts = [{ name: "a.txt", text: "a".repeat(60) }];
    const { kind } = await searchLines(new RegExp(`(a+)+b${index}`), texts, { maxHits: 1, signal: new AbortController().signal });
    order.push(kind);
  };
  let isOver = false;
  const ask = (): void => {
    order.push("answered");
    if (!isOver) setImmediate(ask);
  };

  setImmediate(ask);
  await Promise.all([1, 2, 3].map(search));
  isOver = true;

  const between = order.slice(order.indexOf("too-slow"), order.lastIndexOf("too-slow") + 1);
  assert.deepEqual(between, ["too-slow", "answered", "too-slow", "answered", "too-slow"]);
});

test("the part of a long line that is shown begins and ends between characters", async () => {
  const faces = "😀".repeat(400);
  const texts = ["", "x"].map((name) => ({ name, text: `${name}${faces}!${faces}` }));

  const searched = await searchLines(/!/, texts, { maxHits: 2, signal: new AbortController().signal });

  assert.ok(searched.kind === "searched");
  assert.deepEqual(
    searched.hits.map(({ excerpt }) => [excerpt.isWellFormed(), excerpt.includes("😀!😀")]),
    [
      [true, true],
      [true, true],
    ],
  );
});
