/** What `gateway run` says to do next does reach the gateway, typed into a shell of another terminal. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { run } from "../packages/cli/src/program.ts";
import { captureIo } from "./support/captured-io.ts";

interface Place {
  /** Words of the command line. */
  readonly args: (folder: string) => readonly string[];
  readonly config?: object;
}

const homeOf = (folder: string): { PORTREEVE_HOME: string } => ({ PORTREEVE_HOME: join(folder, "it's a home") });
const stateOf = (folder: string): readonly string[] => ["--state", join(folder, "it's state")];

const places: Readonly<Record<string, Place>> = {
  "in the home that the environment names": { args: () => [] },
  "in a state folder of its own": { args: stateOf },
  "in a state folder of its own, with TLS": { args: stateOf, config: { gateway: { tls: { mode: "generated" } } } },
};

for (const [where, { args, config = {} }] of Object.entries(places)) {
  test(`the next command of a gateway ${where} reaches it`, async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "portreeve-next-"));
    const configFile = join(folder.path, "config.json5");
    await writeFile(configFile, JSON.stringify(config));
    const printed = Promise.withResolvers<void>();
    const io = captureIo({ env: homeOf(folder.path) });
    const out = (text: string): void => {
      io.out(text);
      printed.resolve();
    };
    const ended = run(
      ["gateway", "run", "--port", "0", "--config", configFile, ...args(folder.path)],
      Object.create(io, { out: { value: out } }),
    );
    await Promise.race([printed.promise, ended]);
    const [, command = "false"] = /^Next +in another terminal: (.*?)(;.*)?$/m.exec(io.stdout) ?? [];

    const answer = await inShell(command, { HOME: folder.path });
    io.interrupt();

    assert.equal(await ended, 0, io.stderr);
    assert.match(command, /\.\/portreeve agent "hello"$/);
    assert.equal(answer.code, 0, `${command}\n${answer.err}`);
  });
}

function inShell(command: string, env: Readonly<Record<string, string>>): Promise<{ readonly code: number; readonly err: string }> {
  const options = { cwd: join(import.meta.dirname, ".."), env: { PATH: process.env["PATH"] ?? "", ...env } };
  return new Promise((resolve) => {
    execFile("sh", ["-c", command], options, (error, _out, err) => resolve({ code: error === null ? 0 : 1, err }));
  });
}
