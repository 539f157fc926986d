import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Secret } from "../kit/secret.ts";
import { openStateKeys, StateKeyError } from "./state-keys.ts";

async function makeFolder(): Promise<AsyncDisposable & { root: string; state: string }> {
  const root = await mkdtemp(join(tmpdir(), "portreeve-keys-"));
  return { root, state: join(root, "state"), [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);
const hasCode = (code: string, path: string) => (error: unknown) =>
  error instanceof StateKeyError && error.code === code && error.message.includes(path) && !error.message.includes("\n");

test("the first use makes a private folder with three private keys and nothing else", async () => {
  await using folder = await makeFolder();

  const keys = await openStateKeys(folder.state, { env: {} });

  assert.deepEqual((await readdir(folder.state)).sort(), ["gateway-key.pem", "secret", "token-key"]);
  assert.deepEqual(await Promise.all(["", "gateway-key.pem", "secret", "token-key"].map((name) => modeOf(join(folder.state, name)))), [
    "700",
    "600",
    "600",
    "600",
  ]);
  assert.equal(keys.secretSource, "file");
  assert.match(keys.secret.reveal(), /^[A-Za-z0-9_-]{43}$/);
  assert.equal(keys.tokenKey.symmetricKeySize, 32);
});

test("the keys are the same after a restart", async () => {
  await using folder = await makeFolder();
  const first = await openStateKeys(folder.state, { env: {} });

  const second = await openStateKeys(folder.state, { env: {} });

  assert.equal(second.secret.reveal(), first.secret.reveal());
  assert.equal(second.gatewayId, first.gatewayId);
  assert.ok(second.tokenKey.equals(first.tokenKey));
});

test("two gateways that start at once use one set of keys", async () => {
  await using folder = await makeFolder();

  const opened = await Promise.all([1, 2, 3, 4].map(() => openStateKeys(folder.state, { env: {} })));

  assert.equal(new Set(opened.map((keys) => keys.secret.reveal() + keys.gatewayId)).size, 1);
});

test("a configured secret wins over the environment, and neither writes a file", async () => {
  await using folder = await makeFolder();
  const env = { PORTREEVE_TOKEN: "from-env" };

  const configured = await openStateKeys(folder.state, { configuredSecret: new Secret("from-config"), env });
  const fromEnv = await openStateKeys(folder.state, { env });

  assert.deepEqual([configured.secret.reveal(), configured.secretSource], ["from-config", "config"]);
  assert.deepEqual([fromEnv.secret.reveal(), fromEnv.secretSource], ["from-env", "environment"]);
  assert.ok(!(await readdir(folder.state)).includes("secret"));
});

test("a secret that a person wrote into the file is kept as it is", async () => {
  await using folder = await makeFolder();
  await mkdir(folder.state, { mode: 0o700 });
  await writeFile(join(folder.state, "secret"), "my own words\n", { mode: 0o600 });

  const keys = await openStateKeys(folder.state, { env: {} });

  assert.equal(keys.secret.reveal(), "my own words");
  assert.equal(await readFile(join(folder.state, "secret"), "utf8"), "my own words\n");
});

test("the gateway signs with the key it names", async () => {
  await using folder = await makeFolder();
  const { gatewayKey } = await openStateKeys(folder.state, { env: {} });
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: gatewayKey.publicKey }, format: "jwk" });

  const signature = Buffer.from(gatewayKey.sign("hello"), "base64url");

  assert.ok(verify(null, Buffer.from("hello"), publicKey, signature));
});

test("what is open to others is narrowed and named", async () => {
  await using folder = await makeFolder();
  await openStateKeys(folder.state, { env: {} });
  await chmod(folder.state, 0o755);
  await chmod(join(folder.state, "token-key"), 0o640);

  const { tightened } = await openStateKeys(folder.state, { env: {} });

  assert.deepEqual(tightened, [folder.state, join(folder.state, "token-key")]);
  assert.deepEqual([await modeOf(folder.state), await modeOf(join(folder.state, "token-key"))], ["700", "600"]);
});

test("a state folder that cannot be made is one line that names it", async () => {
  await using folder = await makeFolder();
  await writeFile(folder.state, "a file is in the way");

  await assert.rejects(openStateKeys(join(folder.state, "state"), { env: {} }), hasCode("STATE_NOT_WRITABLE", folder.state));
});

const damage: readonly [name: string, file: string, text: string][] = [
  ["an empty key file", "secret", "\n"],
  ["a gateway key that is none", "gateway-key.pem", "not a key"],
  ["a token key of the wrong length", "token-key", "c2hvcnQ"],
];

for (const [name, file, text] of damage) {
  test(`${name} stops the start and is never replaced`, async () => {
    await using folder = await makeFolder();
    await openStateKeys(folder.state, { env: {} });
    await writeFile(join(folder.state, file), text);

    await assert.rejects(openStateKeys(folder.state, { env: {} }), hasCode("STATE_DAMAGED", join(folder.state, file)));

    assert.equal(await readFile(join(folder.state, file), "utf8"), text);
  });
}

test("a link in the place of a key is refused", async () => {
  await using folder = await makeFolder();
  await mkdir(folder.state, { mode: 0o700 });
  await writeFile(join(folder.root, "elsewhere"), "x", { mode: 0o600 });
  await symlink(join(folder.root, "elsewhere"), join(folder.state, "secret"));

  await assert.rejects(openStateKeys(folder.state, { env: {} }), hasCode("STATE_DAMAGED", join(folder.state, "secret")));
});
