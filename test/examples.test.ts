/** Every example runs against a real gateway and says what it promises. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { startGateway, writeWorkspaceFile } from "./support/start-gateway.ts";

const folder = join(import.meta.dirname, "../examples");

const examples: Readonly<Record<string, { readonly args: readonly string[]; readonly says: RegExp }>> = {
  "01-connect.ts": { args: [], says: /gateway key: [\w-]{43}\nprotocol 4, healthy: true, sessions: 0/ },
  "02-agent.ts": { args: ["Ahoy"], says: /accepted in agent:main:main\n[^]*You said: Ahoy[^]*\nok: \d+ tokens of scripted\/scripted/ },
  "03-subagents.ts": {
    args: [],
    says: /spawned todos with operator\.write\n[^]*(todos|titles) came back: succeeded\n[^]*notes\.md:1: # Harbour[^]*accepted 2, completed 2, announced 2/,
  },
};

test("every example has its test, and none is longer than 80 lines", async () => {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".ts")).toSorted();

  assert.deepEqual(files, Object.keys(examples));
  for (const name of files) assert.ok((await readFile(join(folder, name), "utf8")).split("\n").length <= 81, name);
});

for (const [name, { args, says }] of Object.entries(examples)) {
  test(`example ${name} does what it says`, async () => {
    await using gateway = await startGateway();
    await writeWorkspaceFile(gateway, "notes.md", "# Harbour\nTODO paint the pier\n");
    const env = { PATH: process.env["PATH"], PORTREEVE_URL: gateway.url, PORTREEVE_TOKEN: gateway.token };

    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, name), ...args], { env });

    assert.match(stdout, says);
  });
}
