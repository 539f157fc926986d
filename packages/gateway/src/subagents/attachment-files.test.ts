import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, readdir, readFile, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Attachment } from "../kit/attachments.ts";
import { createIds } from "../kit/ids.ts";
import { createAttachmentFiles } from "./attachment-files.ts";

const files: readonly Attachment[] = [{ name: "a", mimeType: undefined, bytes: 4, sha256: "", content: Buffer.from("mine") }];
const nobody = { listAttachmentIds: () => Promise.resolve([]) };
const never = (): Promise<never> => assert.fail("the child was written down");

test("a sweep leaves the files of a child that is about to be written down, and takes what belongs to nobody", async () => {
  await using state = await mkdtempDisposable(join(tmpdir(), "portreeve-attachments-"));
  const attachments = createAttachmentFiles(state.path, createIds(), nobody);

  const seen = await attachments.hand(files, async ({ id }) => {
    await attachments.sweep();
    return { isKept: true, text: await readFile(join(state.path, "attachments", id, "a"), "utf8") };
  });
  await mkdir(join(state.path, "attachments", "not-ours"));
  await attachments.sweep();

  assert.equal(seen.text, "mine");
  assert.deepEqual(await readdir(join(state.path, "attachments")), ["not-ours"]);
});

test("when nobody knows whether the child was written down, its files stay until that is known", async () => {
  await using state = await mkdtempDisposable(join(tmpdir(), "portreeve-attachments-"));
  const ids: string[] = [];
  const attachments = createAttachmentFiles(state.path, createIds(), { listAttachmentIds: () => Promise.resolve(ids) });

  const failing = attachments.hand(files, ({ id }) => Promise.reject(new Error(id)));
  const { message: id } = await failing.then(never, (error: Error) => error);
  ids.push(id);
  await attachments.sweep();

  assert.equal(await readFile(join(state.path, "attachments", id, "a"), "utf8"), "mine");
});

test("a link where the files would go is not followed, neither to write nor to remove", async () => {
  await using state = await mkdtempDisposable(join(tmpdir(), "portreeve-attachments-"));
  const theirs = join(state.path, "theirs", "0198a7e0-0000-4000-8000-000000000000");
  await mkdir(theirs, { recursive: true });
  await symlink(join(state.path, "theirs"), join(state.path, "attachments"));
  const attachments = createAttachmentFiles(state.path, createIds(), nobody);

  await assert.rejects(attachments.hand(files, never), { code: "STORE_UNAVAILABLE", message: /could not be written \(ENOTDIR\)/ });
  await attachments.sweep();

  assert.deepEqual(await readdir(join(state.path, "theirs")), ["0198a7e0-0000-4000-8000-000000000000"]);
});

test("a file that is there already is never written over", async () => {
  await using state = await mkdtempDisposable(join(tmpdir(), "portreeve-attachments-"));
  const attachments = createAttachmentFiles(state.path, createIds(), nobody);

  await assert.rejects(attachments.hand([...files, ...files], never), { message: /could not be written \(EEXIST\); nothing was started/ });

  assert.deepEqual(await readdir(join(state.path, "attachments")), []);
});
