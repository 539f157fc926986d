import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { ProtocolError } from "@portreeve/protocol";
import { type AskedAttachment, decideAttachments, decodeBase64, problemWithName, redactAttachments } from "./attachments.ts";

const limits = { enabled: true, maxFiles: 50, maxFileBytes: 10, maxTotalBytes: 100 };
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const file = (ask: Partial<AskedAttachment>): AskedAttachment => ({ name: "a.txt", content: "", ...ask });

test("a name is one plain segment that nothing can take for another", () => {
  const good = [
    "a",
    "notes.md",
    "Résumé.pdf",
    "日本.txt",
    "a b.txt",
    "👩‍💻.txt",
    "x".repeat(255),
    "console",
    "com10",
    "é".repeat(127),
    "nullable.txt",
  ];
  const bad = [
    "",
    ".",
    "..",
    ".env",
    "a..b",
    "../a",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "C:\\a",
    "a\0",
    "a\nb",
    "a\u007f",
    "a\u2028b",
    "\u202etxt.exe",
    "a\u200bb",
    "e\u0301.txt",
    "\ud800",
    "x".repeat(256),
    "é".repeat(128),
    " a",
    "a ",
    "a.",
    "nul",
    "CON",
    "com1.txt",
    "Lpt9",
    "aux.tar.gz",
    "com¹",
  ];

  assert.deepEqual(
    good.map((name) => [name, problemWithName(name)]).filter(([, problem]) => problem !== undefined),
    [],
  );
  assert.deepEqual(
    bad.filter((name) => problemWithName(name) === undefined),
    [],
  );
});

test("base64 is read in its one form and in no other", () => {
  assert.deepEqual(
    ["", "AA==", "AAA=", "AAAA", "+/+/"].map((text) => decodeBase64(text)?.length),
    [0, 1, 2, 3, 3],
  );
  const bad = ["A", "AA", "AA=", "AB==", "AAB=", "AA==AA==", "AA ==", "AAAA\n", " AAAA", "-_-_", "AAA*", "====", "AAAA=", "AAAA===="];
  assert.deepEqual(
    bad.filter((text) => decodeBase64(text) !== undefined),
    [],
  );
});

test("50 files may come and 51 may not; every bound is held to the byte, before anything is decoded", () => {
  const many = (count: number): AskedAttachment[] => Array.from({ length: count }, (_, index) => file({ name: `f${index}` }));
  const full = (count: number, last: number): AskedAttachment[] =>
    Array.from({ length: count }, (_, index) => file({ name: `f${index}`, content: "x".repeat(index === count - 1 ? last : 10) }));
  const ten = Buffer.alloc(10).toString("base64");
  const eleven = Buffer.alloc(11).toString("base64");

  assert.equal(decideAttachments(many(50), limits).length, 50);
  assert.equal(decideAttachments(full(10, 10), limits).length, 10);
  assert.equal(decideAttachments([file({ content: ten, encoding: "base64" })], limits)[0]?.bytes, 10);
  assert.deepEqual(decideAttachments([], { ...limits, enabled: false }), []);

  const refused: readonly (readonly [readonly AskedAttachment[], string, RegExp])[] = [
    [many(51), "ATTACHMENT_LIMIT", /51 attachments; .* at most 50 \(agents\.defaults\.subagents\.attachments\.maxFiles\)/],
    [[file({ content: "x".repeat(11) })], "ATTACHMENT_LIMIT", /11 bytes; .* at most 10 \(.*\.maxFileBytes\)/],
    [[file({ content: "é".repeat(6) })], "ATTACHMENT_LIMIT", /12 bytes; .*maxFileBytes/],
    [[file({ content: eleven, encoding: "base64" })], "ATTACHMENT_LIMIT", /11 bytes; .*maxFileBytes/],
    [[file({ content: "!".repeat(100), encoding: "base64" })], "ATTACHMENT_LIMIT", /75 bytes; .*maxFileBytes/],
    [[file({ content: { redacted: true, bytes: 11, sha256: sha256("") } })], "ATTACHMENT_LIMIT", /11 bytes; .*maxFileBytes/],
    [full(11, 1), "ATTACHMENT_LIMIT", /101 bytes of attachments; .* at most 100 \(.*\.maxTotalBytes\)/],
    [[file({ content: "AAA", encoding: "base64" })], "ATTACHMENT_UNUSABLE", /"a\.txt" is not base64/],
    [[file({ content: "\ud800" })], "ATTACHMENT_UNUSABLE", /"a\.txt" is not text in Unicode/],
    [[file({ name: "../a" })], "ATTACHMENT_UNUSABLE", /"\.\.\/a" cannot be the name/],
    [[file({ name: `/${"😀".repeat(60)}` })], "ATTACHMENT_UNUSABLE", /"\/(?:😀){49}…" cannot be the name/u],
    [[file({ name: "Straße" }), file({ name: "STRASSE" })], "ATTACHMENT_UNUSABLE", /capitals aside/],
    [[file({}), file({ name: "A.TXT" })], "ATTACHMENT_UNUSABLE", /"A\.TXT" cannot be .* capitals aside/],
  ];
  for (const [asked, code, says] of refused) {
    assert.throws(
      () => decideAttachments(asked, limits),
      (error: ProtocolError) => error.code === code && says.test(error.message),
      String(says),
    );
  }
  assert.throws(() => decideAttachments([file({})], { ...limits, enabled: false }), {
    code: "ATTACHMENTS_OFF",
    message: /attachments\.enabled$/,
  });
});

test("a file is what its bytes are, in whichever encoding it came, also in what is kept of the call", () => {
  const asText = file({ content: "text" });
  const asBase64 = file({ content: Buffer.from("text").toString("base64"), encoding: "base64" });
  const [one, other] = decideAttachments([asText, { ...asBase64, name: "b" }], limits);

  assert.deepEqual([one?.sha256, one?.bytes], [sha256("text"), 4]);
  assert.deepEqual([other?.sha256, other?.bytes], [one?.sha256, one?.bytes]);
  const left = { redacted: true, bytes: 4, sha256: sha256("text") };
  assert.deepEqual(redactAttachments({ task: "t", attachments: [asText, asBase64] }), {
    task: "t",
    attachments: [
      { name: "a.txt", content: left },
      { name: "a.txt", content: left, encoding: "base64" },
    ],
  });
});

test("whatever a model puts there, what is kept of it does not hold it", () => {
  const marker = "MARKER";
  const long = marker.repeat(100);
  const asked: readonly unknown[] = [
    { attachments: marker },
    { attachments: { content: marker } },
    {
      attachments: [
        marker,
        [marker],
        null,
        { data: marker },
        { name: long, content: { deep: [marker] } },
        { content: marker, encoding: marker.repeat(99) },
      ],
    },
    { Attachments: [{ content: marker }] },
    { attachment: { content: marker } },
    `{"attachments":[{"content":"${marker}`,
    [{ attachments: [{ content: marker }] }],
    [[marker]],
  ];

  for (const args of asked) assert.ok(!JSON.stringify(redactAttachments(args)).includes(marker), JSON.stringify(args));
  const plain = { task: marker };
  assert.equal(redactAttachments(plain), plain);
  assert.equal(redactAttachments(null), null);
});
