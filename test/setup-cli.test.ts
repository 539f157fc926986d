/** Inviting and pairing from the command line: a gateway's home, and another machine's home beside it. */
import assert from "node:assert/strict";
import { mkdtempDisposable, readdir, readFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { parseSetupCode } from "@portreeve/protocol";
import { run } from "../packages/cli/src/program.ts";
import { captureIo, type CapturedIo } from "./support/captured-io.ts";
import { type CliHome, openHome, runCli } from "./support/cli.ts";
import { startPeer } from "./support/scripted-peer.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-other-"));

interface Invitation {
  readonly setupCode: string;
  readonly gatewayUrl: string;
  readonly scopes: readonly string[];
}

async function invite(home: CliHome, ...args: string[]): Promise<Invitation> {
  const { code, out, err } = await home.cli(["devices", "invite", "--json", ...args]);
  assert.equal(code, 0, err);
  return JSON.parse(out) as Invitation;
}

/** A terminal whose person answers every question with `answer`. */
function terminal(home: string, answer: string): { io: CapturedIo; questions: string[] } {
  const questions: string[] = [];
  const io = captureIo({ env: { PORTREEVE_HOME: home }, isTerminal: true });
  const ask = (question: string): Promise<string> => Promise.resolve((questions.push(question), answer));
  return { io: Object.assign(io, { ask }), questions };
}

test("an invited machine pairs with the code, and works with what it was given and no more", async () => {
  await using home = await openHome();
  await using other = await newFolder();
  const { setupCode, gatewayUrl } = await invite(home, "--scopes", "operator.read");
  const env = { PORTREEVE_HOME: other.path };

  const paired = await runCli(["pair", setupCode, "--yes"], env);
  const read = await runCli(["sessions", "list", "--url", gatewayUrl], env);
  const write = await runCli(["agent", "hello", "--url", gatewayUrl], env);
  const list = await home.cli(["devices", "list"]);

  assert.deepEqual([paired.code, read.code, write.code], [0, 0, 4], `${paired.err}${read.err}`);
  assert.match(paired.out, /Paired with ws:\/\/127\.0\.0\.1:\d+ as device [0-9a-f]{8}/);
  assert.match(list.out, / read .*by a setup code/);
  assert.deepEqual((await readdir(join(other.path, "cli"))).sort(), ["device.pem", "gateways.json", "tokens.json"]);
  assert.equal((await stat(join(other.path, "cli", "tokens.json"))).mode & 0o777, 0o600);
});

test("a machine that pins the gateway's own certificate pairs with the code, and keeps the pin; without it nothing is sent", async () => {
  await using home = await openHome({ gateway: { tls: { mode: "generated" } } });
  await using other = await newFolder();
  const { setupCode, gatewayUrl } = await invite(home);
  const env = { PORTREEVE_HOME: other.path };

  const unpinned = await runCli(["pair", setupCode, "--yes"], env);
  const paired = await runCli(["pair", setupCode, "--yes", "--tls-fingerprint", home.gateway.tlsFingerprint ?? ""], env);
  const later = await runCli(["status", "--url", gatewayUrl], env);

  assert.match(gatewayUrl, /^wss:/);
  assert.deepEqual([unpinned.code, paired.code, later.code], [4, 0, 0], paired.err + later.err);
  assert.match(unpinned.err, /--tls-fingerprint/);
});

test("a code that was used is refused with how to get another", async () => {
  await using home = await openHome();
  await using other = await newFolder();
  const { setupCode } = await invite(home);
  const env = { PORTREEVE_HOME: other.path };
  await runCli(["pair", setupCode, "--yes"], env);

  const again = await runCli(["pair", setupCode, "--yes"], env);

  assert.equal(again.code, 4);
  assert.match(again.err, /already used[^]*devices invite/);
});

test("without a yes nothing is connected to, and the refusal names the address and the command", async () => {
  await using peer = await startPeer();
  await using other = await newFolder();
  const setupCode = Buffer.from(JSON.stringify({ url: peer.url, bootstrapToken: "t0ken" })).toString("base64url");

  const { code, err } = await runCli(["pair", setupCode], { PORTREEVE_HOME: other.path });

  assert.equal(code, 2);
  assert.ok(err.includes(peer.url) && err.includes("--yes"), err);
  assert.equal(err.includes("t0ken"), false);
  assert.deepEqual([peer.sockets, await readdir(other.path)], [0, []]);
});

test("a person is asked with the address that is really connected to, and a no connects to nothing", async () => {
  await using peer = await startPeer();
  await using other = await newFolder();
  const disguised = peer.url.replace("ws://", "ws://gateway.example@");
  const setupCode = Buffer.from(JSON.stringify({ url: disguised, bootstrapToken: "t" })).toString("base64url");
  const { io, questions } = terminal(other.path, "n");

  const code = await run(["pair", setupCode], io);

  assert.equal(code, 1);
  assert.deepEqual(questions, [`Connect to ${peer.url} and pair this device there? [y/N] `]);
  assert.equal(peer.sockets, 0);
});

test("a person's yes connects, and only the code's token and the device's proof are sent", async () => {
  await using peer = await startPeer({ onConnect: () => ({ deviceToken: "d1" }) });
  await using other = await newFolder();
  const setupCode = Buffer.from(JSON.stringify({ url: peer.url, bootstrapToken: "t0ken" })).toString("base64url");
  const { io } = terminal(other.path, "y");

  const code = await run(["pair", setupCode], Object.assign(io, { env: { PORTREEVE_HOME: other.path, PORTREEVE_TOKEN: "s3cret" } }));

  assert.equal(code, 0, io.stderr);
  assert.deepEqual(
    peer.connects.map(({ auth, scopes, role }) => [auth, scopes, role]),
    [[{ bootstrapToken: "t0ken" }, [], "operator"]],
  );
  assert.match(await readFile(join(other.path, "cli", "tokens.json"), "utf8"), new RegExp(`${peer.key.publicKey}[^]*d1`));
});

for (const key of ["none", "tampered"] as const) {
  test(`a code is not sent where the gateway's proof is ${key}`, async () => {
    await using peer = await startPeer({ key });
    await using other = await newFolder();
    const setupCode = Buffer.from(JSON.stringify({ url: peer.url, bootstrapToken: "t" })).toString("base64url");

    const { code, err } = await runCli(["pair", setupCode, "--yes"], { PORTREEVE_HOME: other.path });

    assert.equal(code, 4, err);
    assert.deepEqual(peer.connects, []);
  });
}

test("what is no setup code is refused by name", async () => {
  const { code, err } = await runCli(["pair", "hello"], {});

  assert.equal(code, 2);
  assert.match(err, /no setup code[^]*devices invite/);
});

test("an invitation shows the code, where it leads, what it grants and until when; a QR code to whoever watches or asks", async () => {
  await using home = await openHome();

  const plain = await home.cli(["devices", "invite", "--minutes", "5", "--public-url", "https://gate.example"]);
  const drawn = await home.cli(["devices", "invite", "--qr"]);

  const code = /^Code +(\S+)$/m.exec(plain.out)?.[1] ?? "";
  assert.equal(parseSetupCode(code)?.url, "wss://gate.example");
  assert.match(plain.out, /^For +wss:\/\/gate\.example \(params\.publicUrl\)$/m);
  assert.match(plain.out, /^Grants +an operator's device with operator\.approvals, .*operator\.write$/m);
  assert.match(plain.out, /^Ends +\d{4}-\d\d-\d\d \d\d:\d\dZ, or with its first use$/m);
  assert.deepEqual([/[▀▄█]/.test(plain.out), /[▀▄█]{10}/.test(drawn.out)], [false, true]);
  assert.match(drawn.out, /this machine's alone/);
});

test("a wrong invitation is refused before anything is issued", async () => {
  await using home = await openHome();

  const outcomes = [
    await home.cli(["devices", "invite", "--minutes", "11"]),
    await home.cli(["devices", "invite", "--role", "king"]),
    await home.cli(["devices", "invite", "--public-url", "gopher://x"]),
    await home.cli(["devices", "invite", "--scopes", "operator.bogus"]),
  ];

  assert.deepEqual(
    outcomes.map(({ code }) => code),
    [2, 2, 2, 1],
  );
  assert.match(outcomes[3]?.err ?? "", /operator\.admin, operator\.approvals/);
});
