import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { mkdtempDisposable, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connectProofText, createDeviceKey, openDeviceKey } from "./device-key.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-key-"));

test("a device key is made once, in a 0600 file in a 0700 folder, and read back the same", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "cli", "device.pem");

  const made = await openDeviceKey(file);
  const read = await openDeviceKey(file);

  assert.equal(read.id, made.id);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await stat(join(folder.path, "cli"))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(join(folder.path, "cli")), ["device.pem"]);
});

test("processes that open a new key at once get the same one", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "device.pem");

  const keys = await Promise.all(Array.from({ length: 8 }, () => openDeviceKey(file)));

  assert.equal(new Set(keys.map((key) => key.id)).size, 1);
  assert.deepEqual(await readdir(folder.path), ["device.pem"]);
});

test("a file that holds no Ed25519 key is refused and left as it is", async () => {
  await using folder = await newFolder();
  const file = join(folder.path, "device.pem");
  await writeFile(file, "not a key");

  await assert.rejects(openDeviceKey(file), /expected an Ed25519 private key/);

  assert.equal(await readFile(file, "utf8"), "not a key");
});

test("the id is the hash of the raw public key, and signatures verify under that key", () => {
  const device = createDeviceKey();
  const raw = Buffer.from(device.publicKey, "base64url");

  const signature = Buffer.from(device.sign("héllo"), "base64url");

  assert.equal(raw.length, 32);
  assert.equal(device.id, createHash("sha256").update(raw).digest("hex"));
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: device.publicKey }, format: "jwk" });
  assert.equal(verify(null, Buffer.from("héllo", "utf8"), key, signature), true);
});

test("the signed text has the v3 layout: scopes in the order sent, platform and family trimmed and lowered in ASCII only", () => {
  const text = connectProofText(
    { id: "d1" },
    {
      clientId: "cli",
      clientMode: "cli",
      role: "operator",
      scopes: ["operator.write", "operator.admin"],
      signedAt: 17,
      token: "t",
      nonce: "n",
      platform: " LinuX ",
      deviceFamily: "ÀB",
    },
  );

  assert.equal(text, "v3|d1|cli|cli|operator|operator.write,operator.admin|17|t|n|linux|Àb");
});
