import assert from "node:assert/strict";
import { mkdtempDisposable, readdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openTokenStore } from "./token-store.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-tokens-"));
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

for (const text of ["", "[]", '{"version":2,"tokens":{}}', '{"version":1,"tokens":{"k":{"u":5}}}']) {
  test(`a token file that says ${JSON.stringify(text)} is refused with what to do`, async () => {
    await using folder = await newFolder();
    const file = join(folder.path, "tokens.json");
    await writeFile(file, text);

    await assert.rejects(openTokenStore(file).find(owner), { name: "DamagedFileError", remedy: /new ones.*rm \S+tokens\.json/ });
  });
}
