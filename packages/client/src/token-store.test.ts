import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposable, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openTokenStore } from "./token-store.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-tokens-"));
const modulePath = join(import.meta.dirname, "token-store.ts");
const owner = { gatewayKey: "key-1", url: "ws://127.0.0.1:1000" };

test("a token is found only under the gateway key and the address it was saved for", async () => {
  await using folder = await newFolder();
  const store = openTokenStore(join(folder.path, "tokens.json"));

  await store.save(owner, "token-1");

  assert.equal(await store.find({ ...owner, url: "ws://127.0.0.1:1000/any/path" }), "token-1");
  assert.equal(await store.find({ ...owner, gatewayKey: "key-2" }), undefined);
  assert.equal(await store.find({ ...owner, url: "ws://127.0.0.1:2000" }), undefined);
  assert.equal(await store.find({ ...owner, gatewayKey: "__proto__" }), undefined);
});

test("tokens survive in a 0600 file, and only what was stored is forgotten", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "cli", "tokens.json");
  await openTokenStore(file).save(owner, "old");
  await openTokenStore(file).save(owner, "new");

  await openTokenStore(file).forget(owner, "old");
  const kept = await openTokenStore(file).find(owner);
  await openTokenStore(file).forget(owner, "new");

  assert.equal(kept, "new");
  assert.equal(await openTokenStore(file).find(owner), undefined);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(join(folder.path, "cli")), ["tokens.json"]);
});

test("tokens that are saved and forgotten at once are all kept and all forgotten", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "tokens.json");
  const owners = Array.from({ length: 8 }, (_, index) => ({ gatewayKey: `key-${index % 3}`, url: `ws://127.0.0.1:${1_000 + index}` }));
  const findAll = () => Promise.all(owners.map((one) => openTokenStore(file).find(one)));

  await Promise.all(owners.map((one) => openTokenStore(file).save(one, one.url)));
  const saved = await findAll();
  await Promise.all(owners.map((one) => openTokenStore(file).forget(one, one.url)));

  assert.deepEqual(
    saved,
    owners.map(({ url }) => url),
  );
  assert.deepEqual(
    await findAll(),
    owners.map(() => undefined),
  );
  assert.deepEqual(await readdir(folder.path), ["tokens.json"]);
});

test("tokens that several processes save at once are all kept", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "tokens.json");
  const save = `
    const { openTokenStore } = await import(process.argv[1]);
    for (let port = 1; port <= 5; port += 1)
      await openTokenStore(process.argv[2]).save({ gatewayKey: process.argv[3], url: "ws://127.0.0.1:" + port }, "t");`;
  const run = (key: string) =>
    spawn(process.execPath, ["--input-type=module", "-e", save, modulePath, file, key], { stdio: ["ignore", "ignore", "inherit"] });
  const writers = ["a", "b", "c"].map(run);

  const codes = (await Promise.all(writers.map((one) => once(one, "exit")))).map(([code]) => code as number);

  const { tokens } = JSON.parse(await readFile(file, "utf8")) as { tokens: Record<string, object> };
  assert.deepEqual(codes, [0, 0, 0]);
  const counts = Object.entries(tokens).map(([key, ports]) => [key, Object.keys(ports).length] as const);
  assert.deepEqual(Object.fromEntries(counts), { a: 5, b: 5, c: 5 });
});

for (const text of ["", "[]", '{"version":2,"tokens":{}}', '{"version":1,"tokens":{"k":{"u":5}}}']) {
  test(`a token file that says ${JSON.stringify(text)} is refused with what to do`, async () => {
    await using folder = await newFolder();
    const file = join(folder.path, "tokens.json");
    await writeFile(file, text);

    await assert.rejects(openTokenStore(file).find(owner), { name: "DamagedFileError", remedy: /new ones.*rm \S+tokens\.json/ });
  });
}
