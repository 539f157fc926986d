/** What people are told when their home, their files or their terminal stand in the way: what, what was expected, the next command. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import type { Examination } from "../packages/gateway/src/doctor/doctor.ts";
import { run } from "../packages/cli/src/program.ts";
import { captureIo } from "./support/captured-io.ts";
import { openHome, runCli } from "./support/cli.ts";
import { script } from "./support/script.ts";
import { startFakeOpenAi } from "./support/fake-openai.ts";

const commandLine = join(import.meta.dirname, "../packages/cli/src/main.ts");

async function openFolder() {
  return mkdtempDisposable(join(tmpdir(), "portreeve-words-"));
}

for (const args of [["status"], ["agent", "hello"], ["gateway", "run"]]) {
  test(`a home that is a file is named as one by "${args.join(" ")}"`, async () => {
    await using folder = await openFolder();
    const home = join(folder.path, "home");
    await writeFile(home, "a letter");

    const { code, err } = await runCli(args, { PORTREEVE_HOME: home, PORTREEVE_URL: "ws://127.0.0.1:9", PORTREEVE_TOKEN: "s" });

    assert.equal(code, 1);
    assert.match(err, new RegExp(`${home}.*is a file, and a folder was expected`));
    assert.match(err, /PORTREEVE_HOME=DIR/);
    assert.doesNotMatch(err, /mkdir|health/);
  });
}

test("a configuration that cannot be read is not one to be corrected", async () => {
  await using folder = await openFolder();
  const file = join(folder.path, "config.json5");
  await mkdir(file);
  const env = { PORTREEVE_HOME: folder.path };

  const { findings } = JSON.parse((await runCli(["doctor", "--json"], env)).out) as Examination;
  const start = await runCli(["gateway", "run"], env);

  const [found] = findings.filter(({ check }) => check === "configuration");
  assert.match(`${found?.text} ${found?.cure}`, new RegExp(`${file}: it is a folder, and a file was expected mv ${file}`));
  assert.match(start.err, new RegExp(`it is a folder, and a file was expected\nmv ${file}.*\\./portreeve gateway run`));
});

const clientFiles = {
  "tokens.json": /rm \S+tokens\.json/,
  "gateways.json": /rm \S+gateways\.json/,
  "device.pem": /mv \S+device\.pem \S+device\.pem\.old/,
};

for (const [name, remedy] of Object.entries(clientFiles)) {
  test(`a damaged cli/${name} is told with what becomes of it`, async () => {
    await using home = await openHome();
    await mkdir(join(home.path, "cli"), { recursive: true });
    await writeFile(join(home.path, "cli", name), "a letter");

    const { code, err } = await home.cli(["status", "--url", home.gateway.url, "--token", "wrong"]);

    assert.equal(code, 1, err);
    assert.match(err, new RegExp(`${name}: expected`));
    assert.match(err, remedy);
    assert.doesNotMatch(err, /health/);
  });
}

test("a demo whose provider is no URL is told so, and of no file that is gone", async () => {
  const { code, err } = await runCli(["demo", "--base-url", "foo", "--model", "m"], {});

  assert.equal(code, 2);
  assert.match(err, /--base-url foo is no URL.*http:\/\/127\.0\.0\.1:11434\/v1/);
});

test("a demo whose run fails names no gateway that is gone by then", async () => {
  await using provider = await startFakeOpenAi();
  provider.enqueue({ status: 401, body: { error: { message: "no" } } });

  const { code, err } = await runCli(["demo", "--base-url", provider.baseUrl, "--model", "m"], {});

  assert.equal(code, 1);
  assert.match(err, /refused the key.*\n.*\.\/portreeve demo --model scripted/);
  assert.doesNotMatch(err, /portreeve agents|log/);
});

test("output that cannot be written is said where it can be", async () => {
  const ran = promisify(execFile)("bash", ["-c", `exec "$0" "$1" --help > /dev/full`, process.execPath, commandLine]);

  await assert.rejects(ran, (error: Error & { code?: number; stderr?: string }) => {
    assert.equal(error.code, 1);
    assert.match(error.stderr ?? "", /^portreeve: standard output cannot be written \(ENOSPC\)\.\n.*free space/i);
    return true;
  });
});

/** A gateway in the foreground, as a person has it, and the moment it says that it is there. */
async function startInForeground(home: string, config: object) {
  await writeFile(join(home, "config.json5"), JSON.stringify({ gateway: { port: 0 }, ...config }));
  const started = Promise.withResolvers<void>();
  const io = captureIo({ env: { PORTREEVE_HOME: home } });
  const out = io.out.bind(io);
  const watched = Object.defineProperties({ ...io }, Object.getOwnPropertyDescriptors(io));
  watched.out = (text: string) => {
    out(text);
    started.resolve();
  };
  const ended = run(["gateway", "run"], watched);
  await Promise.race([started.promise, ended]);
  return { io, ended };
}

test("a stop with a run at work says what it waits for, and how to stop at once", async () => {
  await using folder = await openFolder();
  const { io, ended } = await startInForeground(folder.path, { gateway: { port: 0, drainSeconds: 1 } });
  const env = { PORTREEVE_HOME: folder.path };
  await runCli(
    ["call", "chat.send", JSON.stringify({ sessionKey: "main", message: script("x", { hang: true }), idempotencyKey: "k" })],
    env,
  );
  const status = async (): Promise<string> => (await runCli(["sessions", "list", "--json"], env)).out;
  while (!(await status()).includes('"running"')) await new Promise(setImmediate);

  io.interrupt();

  assert.equal(await ended, 0);
  assert.match(io.stderr, /Stopping: 1 run comes to a safe point first, for at most 1 s; .*Ctrl-C again stops at once/);
});

test("a stop with nothing at work says nothing", async () => {
  await using folder = await openFolder();
  const { io, ended } = await startInForeground(folder.path, {});

  io.interrupt();

  assert.equal(await ended, 0);
  assert.equal(io.stderr, "");
});

test("a start with a model that cannot work warns of it", async () => {
  await using folder = await openFolder();
  const { io, ended } = await startInForeground(folder.path, {
    agents: { defaults: { model: "qwen3" }, entries: { main: {}, other: { model: "scripted" } } },
  });

  io.interrupt();
  await ended;

  assert.match(io.stdout, /^WARNING {2}agent main cannot work: "qwen3" is not a model id; expected provider\/name/m);
  assert.doesNotMatch(io.stdout, /agent other/);
});
