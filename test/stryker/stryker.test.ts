/** Every small change to a module that decides about authority is noticed by its tests, or is listed with the reason why not. */
import assert from "node:assert/strict";
import test from "node:test";
import { copyProject } from "../support/mutant.ts";
import { modules } from "./modules.ts";
import { compare, readReport, type Report } from "./report.ts";
import { installStryker, mutateModule } from "./stryker.ts";
import { survivors } from "./survivors.ts";

/** For work on one module: a part of its path. */
const only = process.env["PORTREEVE_STRYKER"] ?? "";

test("each module", async (t) => {
  const absence = await installStryker();
  if (absence !== undefined) {
    t.diagnostic(`NOTHING WAS TRIED: ${absence}`);
    t.skip(absence);
    return;
  }
  await using copy = await copyProject();
  for (const [file, tests] of Object.entries(modules).filter(([path]) => path.includes(only))) {
    await t.test(file, async (inner) => {
      const { tried, survived } = readReport(await mutateModule(copy.folder, file, tests));
      inner.diagnostic(`${tried} changes, ${survived.length} of them survived`);

      assert.ok(tried > 0);
      assert.deepEqual(
        compare(
          survived,
          survivors.filter((one) => one.file === file),
        ),
        { fresh: [], stale: [] },
      );
    });
  }
});

const source = "export const isOpen =\n  a.length === 0 && b;\n";
const at = (line: number, column: number) => ({ line, column });
const report = (status: string): Report => ({
  files: { "a.ts": { source, mutants: [{ status, replacement: "true", location: { start: at(2, 3), end: at(2, 17) } }] } },
});
const change = { file: "a.ts", line: "a.length === 0 && b;", from: "a.length === 0", to: "true" };

test("a report is read as what was tried, and what of it no test noticed, in the words of the source", () => {
  assert.deepEqual(readReport(report("Killed")), { tried: 1, survived: [] });
  assert.deepEqual(readReport(report("Timeout")), { tried: 1, survived: [] });
  assert.deepEqual(readReport(report("Survived")), { tried: 1, survived: [change] });
});

test("a change that survives and is not listed is named, and so is one that is listed and does not survive", () => {
  assert.deepEqual(compare([change], []), { fresh: [change], stale: [] });
  assert.deepEqual(compare([], [{ ...change, why: "x" }]), { fresh: [], stale: [change] });
  assert.deepEqual(compare([change], [{ ...change, why: "x" }]), { fresh: [], stale: [] });
  assert.deepEqual(compare([change, change], [{ ...change, why: "x" }]), { fresh: [change], stale: [] });
  assert.deepEqual(compare([change], [{ ...change, to: "false", why: "x" }]), { fresh: [change], stale: [{ ...change, to: "false" }] });
});
