import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtempDisposable, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { describeRefusal, listFolder, openFile, resolveInWorkspace, showName, type PathRefusal, type PlaceInside } from "./workspace.ts";

/** `ws` is the workspace; `outside` lies beside it and holds `secret.txt`. */
async function makeFolders() {
  const folder = await mkdtempDisposable(join(await realpath(tmpdir()), "workspace-"));
  const ws = join(folder.path, "ws");
  const outside = join(folder.path, "outside");
  await mkdir(join(ws, "docs"), { recursive: true });
  await mkdir(outside);
  await writeFile(join(ws, "docs", "a.txt"), "inside");
  await writeFile(join(outside, "secret.txt"), "outside");
  return { ws, outside, [Symbol.asyncDispose]: () => folder.remove() };
}

async function placeOf(ws: string, path: string): Promise<PlaceInside> {
  const place = await resolveInWorkspace(ws, path);
  assert.equal(place.kind, "inside");
  return place as PlaceInside;
}

test("relative and absolute paths of the workspace are resolved to the same place", async () => {
  await using folders = await makeFolders();

  const relative = await resolveInWorkspace(folders.ws, "docs/../docs/./a.txt");
  const absolute = await resolveInWorkspace(folders.ws, join(folders.ws, "docs/a.txt"));

  assert.deepEqual(relative, { kind: "inside", root: folders.ws, absolute: join(folders.ws, "docs/a.txt"), shown: "docs/a.txt" });
  assert.deepEqual(absolute, relative);
});

test("the workspace may itself be reached through a link, by either of its names", async () => {
  await using folders = await makeFolders();
  const alias = `${folders.ws}-alias`;
  await symlink(folders.ws, alias);

  const places = await Promise.all(
    ["docs/a.txt", join(alias, "docs/a.txt"), join(folders.ws, "docs/a.txt")].map((path) => resolveInWorkspace(alias, path)),
  );

  assert.deepEqual(
    new Set(places.map((place) => (place.kind === "inside" ? place.absolute : place.kind))),
    new Set([join(folders.ws, "docs/a.txt")]),
  );
});

test("a path that leads outside is refused, however it does", async () => {
  await using folders = await makeFolders();
  await symlink(join(folders.outside, "secret.txt"), join(folders.ws, "file-link"));
  await symlink(folders.outside, join(folders.ws, "folder-link"));
  await symlink("../..", join(folders.ws, "docs", "up"));
  const paths = [
    "..",
    "../outside/secret.txt",
    "docs/../../outside/secret.txt",
    join(folders.outside, "secret.txt"),
    `${folders.ws}-beside`,
    "/",
    "/etc/passwd",
    "file-link",
    "folder-link",
    "folder-link/secret.txt",
    "docs/up/outside/secret.txt",
  ];

  const kinds = await Promise.all(paths.map(async (path) => [path, (await resolveInWorkspace(folders.ws, path)).kind]));

  assert.deepEqual(
    kinds,
    paths.map((path) => [path, "outside"]),
  );
});

test("whether something exists outside is not told", async () => {
  await using folders = await makeFolders();
  await symlink(folders.outside, join(folders.ws, "folder-link"));
  const missing = [
    "../outside/none.txt",
    "/no/such/file",
    "folder-link/none.txt",
    "folder-link/none/deeper.txt",
    "folder-link/secret.txt/x",
  ];

  const kinds = await Promise.all(missing.map(async (path) => (await resolveInWorkspace(folders.ws, path)).kind));

  assert.deepEqual(
    kinds,
    missing.map(() => "outside"),
  );
});

test("a link that stays inside is followed", async () => {
  await using folders = await makeFolders();
  await symlink("docs/a.txt", join(folders.ws, "link"));

  const place = await placeOf(folders.ws, "link");

  assert.equal(place.shown, "docs/a.txt");
});

test("what cannot be a place has a typed refusal", async () => {
  await using folders = await makeFolders();
  await symlink("loop-b", join(folders.ws, "loop-a"));
  await symlink("loop-a", join(folders.ws, "loop-b"));
  const cases: readonly (readonly [string, PathRefusal])[] = [
    ["docs/a.txt\0.png", { kind: "invalid" }],
    ["none.txt", { kind: "missing" }],
    ["docs/a.txt/below", { kind: "missing" }],
    ["x".repeat(4_000), { kind: "missing" }],
    ["loop-a", { kind: "unreadable", code: "ELOOP" }],
  ];

  const outcomes = await Promise.all(cases.map(async ([path]) => [path, await resolveInWorkspace(folders.ws, path)]));

  assert.deepEqual(outcomes, cases);
  assert.deepEqual(await resolveInWorkspace(join(folders.ws, "gone"), "a.txt"), { kind: "no-workspace" });
});

test("a file that became a link after the check is not opened", async () => {
  await using folders = await makeFolders();
  const place = await placeOf(folders.ws, "docs/a.txt");
  await rm(place.absolute);
  await symlink(join(folders.outside, "secret.txt"), place.absolute);

  const opened = await openFile(place);

  assert.deepEqual(opened, { kind: "outside" });
});

test("a folder on the way that became a link after the check leads nowhere", async () => {
  await using folders = await makeFolders();
  await writeFile(join(folders.outside, "a.txt"), "outside");
  await mkdir(join(folders.outside, "deep"));
  await mkdir(join(folders.ws, "docs", "deep"));
  const file = await placeOf(folders.ws, "docs/a.txt");
  const folder = await placeOf(folders.ws, "docs");
  const deep = await placeOf(folders.ws, "docs/deep");
  await rename(join(folders.ws, "docs"), join(folders.ws, "moved"));
  await symlink(folders.outside, join(folders.ws, "docs"));

  const outcomes = [await openFile(file), await listFolder(folder, 10), await listFolder(deep, 10)];

  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ["outside", "is-file", "outside"],
  );
});

test("pipes, sockets and folders are not opened as files", { timeout: 10_000 }, async () => {
  await using folders = await makeFolders();
  execFileSync("mkfifo", [join(folders.ws, "pipe")]);

  const pipe = await openFile(await placeOf(folders.ws, "pipe"));
  const folder = await openFile(await placeOf(folders.ws, "docs"));

  assert.deepEqual([pipe, folder], [{ kind: "is-special" }, { kind: "is-folder" }]);
});

test("a folder is listed up to the asked number of entries", async () => {
  await using folders = await makeFolders();
  await writeFile(join(folders.ws, "docs", "b.txt"), "");
  const place = await placeOf(folders.ws, "docs");

  const outcomes = [await listFolder(place, 2), await listFolder(place, 1)];

  assert.deepEqual(
    outcomes.map((outcome) => outcome.kind === "listed" && [outcome.entries.length, outcome.isComplete]),
    [
      [2, true],
      [1, false],
    ],
  );
});

test("every refusal names the path and says what to do instead", () => {
  const refusals: readonly PathRefusal[] = [
    ...(["invalid", "outside", "missing", "is-folder", "is-file", "is-special"] as const).map((kind) => ({ kind })),
    { kind: "unreadable", code: "EACCES" },
  ];

  const texts = refusals.map((refusal) => describeRefusal("some/path", refusal));

  for (const text of texts) assert.match(text, /some\/path.*\. \S|some\/path.*: give /);
  assert.equal(new Set(texts).size, refusals.length);
});

test("a name with a line break is shown quoted, on one line", () => {
  assert.equal(showName("a\nb"), '"a\\nb"');
  assert.equal(showName("größe 日本.md"), "größe 日本.md");
});

test("of a long path the refusal shows a part that begins and ends between characters", () => {
  assert.equal(
    describeRefusal(`x${"😀".repeat(200)}`, { kind: "missing" }),
    `There is no x${"😀".repeat(99)}… in the workspace. Call ls to see what there is.`,
  );
});
