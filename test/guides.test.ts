/** Every command of the guides is run as its reader would run it, on a fresh home, against a real gateway. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import type { Command } from "commander";
import type { Io } from "../packages/cli/src/output.ts";
import { createProgram, run } from "../packages/cli/src/program.ts";
import { parseConfig } from "../packages/gateway/src/kit/config.ts";
import { captureIo, type CapturedIo } from "./support/captured-io.ts";
import { readGuide, toWords } from "./support/guide.ts";
import { createWireKey, refusedConnect } from "./support/wire-client.ts";

const docs = join(import.meta.dirname, "../docs");
const guides = (await readdir(join(docs, "guides"))).toSorted();
const texts = new Map(await Promise.all(guides.map(async (name) => [name, await readFile(join(docs, "guides", name), "utf8")] as const)));

for (const [name, text] of texts) {
  test(`every command of ${name} does what the guide says, in its order`, async () => {
    await using world = await openWorld();

    for (const step of readGuide(text)) {
      if (step.kind === "asks") await world.ask(step.scopes);
      else if (step.kind === "export") await world.export(step.where, step.name, step.value);
      else if (step.kind === "curl") {
        const { status, text } = await world.curl(step.words);
        assert.equal(status, 200, `${step.words.join(" ")}\n${text}`);
        // A streamed answer has promised its success before it ends.
        assert.doesNotMatch(text, /"error":\{/);
      } else {
        const { code, printed } = await world.run(step.where, step.text);
        assert.equal(code, step.exit, `${step.where}: ${step.text}\n${printed}`);
      }
    }
  });

  test(`every command that ${name} names exists`, () => {
    const mentioned = [...text.matchAll(/\.\/portreeve ((?:[a-z]+ ?)+)/g)].map(([, words = ""]) => words.trim().split(" "));

    for (const words of mentioned) assert.ok(isCommand(createProgram(captureIo()), words), words.join(" "));
  });

  test(`every configuration in ${name} is valid`, () => {
    for (const [, config = ""] of text.matchAll(/```json5\n([^]*?)```/g)) assert.ok(parseConfig(config, name));
  });
}

test("the guides run commands at all", () => {
  const steps = readGuide(texts.get("pairing.md") ?? "");

  assert.ok(steps.filter(({ kind }) => kind === "command").length > 15);
});

/** Whether `words` lead to a command; what follows a command that has no commands of its own is its argument. */
function isCommand(command: Command, [word, ...rest]: readonly string[]): boolean {
  if (word === undefined || command.commands.length === 0) return true;
  const next = command.commands.find((child) => child.name() === word);
  return next !== undefined && isCommand(next, rest);
}

interface World extends AsyncDisposable {
  run(where: string, command: string): Promise<{ readonly code: number; readonly printed: string }>;
  /** The phone, which is far away, connects with the secret and asks for the scopes. */
  ask(scopes: readonly string[]): Promise<void>;
  export(where: string, name: string, value: string): Promise<void>;
  /** What curl would ask the gateway on its own machine. */
  curl(words: readonly string[]): Promise<{ readonly status: number; readonly text: string }>;
}

/** A home for every place of a guide; the gateway's has a proxy before it, so that whoever comes through it comes from afar. */
async function openWorld(): Promise<World> {
  await using cleanUp = new AsyncDisposableStack();
  const folder = cleanUp.use(await mkdtempDisposable(join(tmpdir(), "portreeve-guide-")));
  const envs = new Map<string, Record<string, string>>();
  const envOf = (where: string): Record<string, string> => {
    const env = envs.get(where) ?? { PORTREEVE_HOME: join(folder.path, where) };
    envs.set(where, env);
    return env;
  };
  const home = join(folder.path, "gateway");
  await mkdir(home);
  await writeFile(join(home, "config.json5"), JSON.stringify({ gateway: { port: 0, trustedProxies: ["127.0.0.1"] } }));
  const phone = createWireKey();
  let [proxyUrl, gatewayUrl, code, token] = ["", "", "", ""];
  const readSecret = async (): Promise<string> => (await readFile(join(home, "state/secret"), "utf8")).trim();
  const findRequest = async (): Promise<string> => {
    const { out } = await runOnce(["devices", "--json"], envOf("gateway"));
    return (JSON.parse(out) as { pending: { requestId: string }[] }).pending[0]?.requestId.slice(0, 8) ?? "none waits";
  };
  const owned = cleanUp.move();
  return {
    async run(where, command) {
      const words = toWords(command).slice(1);
      if (words.join(" ") === "gateway run") {
        const { url } = owned.use(await startGatewayHere(envOf(where)));
        gatewayUrl = url.replace(/^ws/, "http");
        proxyUrl = owned.use(await startProxy(Number(new URL(url).port))).url;
        return { code: 0, printed: "" };
      }
      const request = words.includes("REQUEST") ? await findRequest() : "";
      const ids: Readonly<Record<string, string>> = { REQUEST: request, DEVICE: phone.id.slice(0, 8), CODE: code };
      const {
        code: exit,
        out,
        err,
      } = await runOnce(
        words.map((word) => ids[word] ?? word),
        envOf(where),
        folder.path,
      );
      code = /^Code +(\S+)$/m.exec(out)?.[1] ?? code;
      token = /^Token +(\S+)$/m.exec(out)?.[1] ?? token;
      return { code: exit, printed: `${out}${err}` };
    },
    async ask(scopes) {
      const { error } = await refusedConnect(proxyUrl, { key: phone, scopes, token: await readSecret() });
      assert.equal(error.details?.["code"], "PAIRING_REQUIRED");
    },
    async export(where, name, value) {
      envOf(where)[name] = value === "SECRET" ? await readSecret() : value.startsWith("wss://") ? proxyUrl : value;
    },
    async curl(words) {
      const all = words.map((word) => word.replaceAll("$TOKEN", token).replace("http://127.0.0.1:18789", gatewayUrl));
      const after = (flag: string): readonly string[] => all.flatMap((word, index) => (all[index - 1] === flag ? [word] : []));
      const headers = new Headers(after("-H").map((line): [string, string] => [line.split(": ")[0] ?? "", line.split(": ")[1] ?? ""]));
      const [body] = after("-d");
      const sent = body === undefined ? {} : { method: "POST", body };
      const response = await fetch(all.find((word) => word.startsWith(gatewayUrl)) ?? assert.fail("no URL"), { ...sent, headers });
      return { status: response.status, text: await response.text() };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** One command, with a person who says yes and who leaves a watch once it has begun. */
async function runOnce(args: readonly string[], env: Readonly<Record<string, string>>, cwd?: string) {
  const io = captureIo({ env, answer: "y", ...(cwd === undefined ? {} : { cwd }) });
  const leave = (text: string): void => void (/watching/i.test(text) && io.interrupt());
  const code = await run(args, listening(io, leave));
  return { code, out: io.stdout, err: io.stderr };
}

/** `gateway run` in this process, until disposed. */
async function startGatewayHere(env: Readonly<Record<string, string>>): Promise<AsyncDisposable & { readonly url: string }> {
  const io = captureIo({ env });
  const started = Promise.withResolvers<string>();
  const ended = run(
    ["gateway", "run"],
    listening(io, (text) => started.resolve(text)),
  );
  const said = await Promise.race([started.promise, ended.then((code) => `ended with ${code}`)]);
  const url = /ws:\/\/\S+/.exec(said)?.[0];
  assert.ok(url, said);
  return {
    url,
    async [Symbol.asyncDispose]() {
      io.interrupt();
      await ended;
    },
  };
}

function listening(io: CapturedIo, hear: (text: string) => void): Io {
  const both = (write: (text: string) => void) => (text: string) => {
    write(text);
    hear(text);
  };
  return { ...io, out: both(io.out), err: both(io.err) };
}

/** Passes bytes on, and says in the first request that it came from afar. */
async function startProxy(port: number): Promise<AsyncDisposable & { readonly url: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const gateway = connect(port, "127.0.0.1");
    for (const socket of [client, gateway]) sockets.add(socket.on("error", () => undefined));
    client.once("data", (first: Buffer) => {
      gateway.write(first.toString("latin1").replace("\r\n", "\r\nX-Forwarded-For: 203.0.113.9\r\n"), "latin1");
      client.pipe(gateway);
    });
    gateway.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as AddressInfo; // A TCP server's address is never text.
  return {
    url: `ws://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
