/** The command line holds every gateway to the key it met first, and its own one to the key's file. */
import assert from "node:assert/strict";
import { mkdtempDisposable, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fingerprintOf } from "@portreeve/client";
import { findHome } from "../packages/gateway/src/kit/home.ts";
import { runGateway } from "../packages/gateway/src/main.ts";
import { openHome, runCli } from "./support/cli.ts";
import { startPeer, type PeerOptions } from "./support/scripted-peer.ts";

const newFolder = (): ReturnType<typeof mkdtempDisposable> => mkdtempDisposable(join(tmpdir(), "portreeve-other-"));

const list = (url: string): readonly string[] => ["sessions", "list", "--url", url, "--token", "s3cret"];
const answering: PeerOptions = {
  onConnect: () => ({ deviceToken: "d1" }),
  onRequest: (request) => request.answer({ sessions: [], totalCount: 0 }),
};

test("another gateway at a known address is refused loudly before anything is sent, until the key is forgotten on purpose", async () => {
  await using other = await newFolder();
  const env = { PORTREEVE_HOME: other.path };
  const first = await startPeer(answering);
  const met = await runCli(list(first.url), env);
  await first[Symbol.asyncDispose]();
  await using second = await startPeer({ port: first.port, ...answering });

  const refused = await runCli(list(first.url), env);
  const sent = [...second.connects];
  const forgotten = await runCli(["gateways", "forget", first.url], env);
  const accepted = await runCli(list(first.url), env);
  const known = await runCli(["gateways", "list"], env);

  assert.deepEqual([met.code, refused.code, forgotten.code, accepted.code], [0, 4, 0, 0], met.err + accepted.err);
  assert.deepEqual(sent, []);
  for (const key of [first.key, second.key]) assert.ok(refused.err.includes(fingerprintOf(key.publicKey)), refused.err);
  assert.ok(refused.err.includes(`./portreeve gateways forget ${first.url}`), refused.err);
  assert.ok(known.out.includes(`${first.url}  ${fingerprintOf(second.key.publicKey)}`), known.out);
  assert.equal((await stat(join(other.path, "cli", "gateways.json"))).mode & 0o777, 0o600);
});

test("with --json the refusal is one object with its code", async () => {
  await using other = await newFolder();
  const env = { PORTREEVE_HOME: other.path };
  const first = await startPeer(answering);
  await runCli(list(first.url), env);
  await first[Symbol.asyncDispose]();
  await using _second = await startPeer({ port: first.port });

  const { err } = await runCli([...list(first.url), "--json"], env);

  assert.equal((JSON.parse(err) as { error: { code: string } }).error.code, "GATEWAY_KEY_CHANGED");
});

test("a setup code is not sent to another gateway than the one that was met at its address", async () => {
  await using other = await newFolder();
  const env = { PORTREEVE_HOME: other.path };
  const first = await startPeer(answering);
  await runCli(list(first.url), env);
  await first[Symbol.asyncDispose]();
  await using second = await startPeer({ port: first.port });
  const code = Buffer.from(JSON.stringify({ url: first.url, bootstrapToken: "t" })).toString("base64url");

  const refused = await runCli(["pair", code, "--yes"], env);

  assert.deepEqual([refused.code, second.connects], [4, []]);
});

test("the home's own gateway is known by its key's file: set up anew, it is still known", async () => {
  await using home = await openHome();
  const before = await home.cli(["status"]);
  await home.gateway[Symbol.asyncDispose]();
  const { configFile, stateDir, workspaceDir } = findHome({ PORTREEVE_HOME: home.path });
  await rm(stateDir, { recursive: true });
  const port = Number(new URL(home.gateway.url).port);
  await using _anew = await runGateway({ configFile, stateDir, workspaceDir, port, env: {}, logLevel: "silent" });

  const after = await home.cli(["status"]);

  assert.deepEqual([before.code, after.code], [0, 0], after.err);
});

test("the owner whose own device waits is shown the words that whoever decides is shown", async () => {
  await using home = await openHome({ gateway: { pairing: { autoApproveLocal: false } } });

  const { code, err } = await home.cli(["status"]);
  const [, words = "none printed"] = /Words: ((?:[a-z]+ ){3}[a-z]+)\./.exec(err) ?? [];
  const { pending } = JSON.parse((await home.cli(["devices", "--json"])).out) as { pending: { words?: string }[] };

  assert.equal(code, 4);
  assert.deepEqual(
    pending.map((request) => request.words),
    [words],
  );
});

test("what is no address, or none that was met, is told so", async () => {
  await using other = await newFolder();
  const env = { PORTREEVE_HOME: other.path };

  const outcomes = [await runCli(["gateways", "forget", "nonsense"], env), await runCli(["gateways", "forget", "ws://h:1"], env)];

  assert.deepEqual(
    outcomes.map(({ code }) => code),
    [2, 1],
  );
  assert.match(outcomes[1]?.err ?? "", /No key is kept for ws:\/\/h:1/);
});
