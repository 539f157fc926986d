import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { closeCodeOf, cutCloseReason } from "./close-reason.ts";

test("a reason that fits stays as it is", () => {
  assert.equal(cutCloseReason("pairing required"), "pairing required");
  assert.equal(cutCloseReason("x".repeat(120)), "x".repeat(120));
});

test("a long reason is cut before the character that does not fit", () => {
  assert.equal(cutCloseReason("x".repeat(121)), "x".repeat(120));
  assert.equal(cutCloseReason(`${"x".repeat(119)}é`), "x".repeat(119));
  assert.equal(cutCloseReason(`${"x".repeat(118)}😀y`), "x".repeat(118));
});

test("whatever the text, the cut is a beginning of it, whole characters, and never too long", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
      const cut = cutCloseReason(text);
      return (
        text.startsWith(cut) &&
        Buffer.byteLength(cut) <= 120 &&
        !cut.includes("\ufffd") &&
        Buffer.byteLength(cut) >= Math.min(Buffer.byteLength(text), 117)
      );
    }),
  );
});

test("a refused handshake closes with the code of its failure", () => {
  assert.deepEqual(
    (["PROTOCOL_MISMATCH", "INTERNAL", "STORE_UNAVAILABLE", "TOO_MANY_SOCKETS", "PAIRING_REQUIRED", "AUTH_TOKEN_MISMATCH"] as const).map(
      closeCodeOf,
    ),
    [1002, 1011, 1013, 1013, 1008, 1008],
  );
});
