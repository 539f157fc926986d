/** Operators see every run and decide about it: through the methods and the command line, on one gateway. */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { ProtocolError } from "@portreeve/protocol";
import { createCaller } from "../packages/gateway/src/dispatch/caller.ts";
import type { Io } from "../packages/cli/src/output.ts";
import { run } from "../packages/cli/src/program.ts";
import { runPrincipal } from "../packages/gateway/src/principal/principal.ts";
import { captureIo } from "./support/captured-io.ts";
import { type CliHome, openHome } from "./support/cli.ts";
import { script, spawnStep, type Step } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

const forever: Step = { hang: true };
let gw: TestGateway;

before(async () => {
  gw = await startGateway();
});
after(() => gw[Symbol.asyncDispose]());

/** Resolves when a child of the session speaks: the built-in model says that it waits, and hangs. */
function childOf(sessionKey: string): Promise<void> {
  return new Promise((resolve) => {
    const subscription = gw.gateway.bus.subscribe("agent", ({ stream, spawnedBy }) => {
      if (stream !== "assistant" || spawnedBy !== sessionKey) return;
      subscription[Symbol.dispose]();
      resolve();
    });
  });
}

async function refusal(call: Promise<unknown>): Promise<ProtocolError> {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ProtocolError);
  return error;
}

test("a run and its children can be listed, told, shown as a tree and cancelled, by whoever may", async () => {
  const [reader, writer] = [gw.callerWith("operator.read"), gw.callerWith("operator.write")];
  const speaks = childOf("agent:main:seen");
  const message = script("go", { call: [spawnStep("stuck", forever)] }, { awaitChildren: true }, { say: "never" });
  await writer.call("chat.send", { sessionKey: "seen", message, idempotencyKey: "seen-1" });
  await speaks;

  const { runs } = await reader.call("runs.list", { sessionKey: "seen" });
  const tree = await reader.call("runs.tree", { runId: "seen-1" });
  const child = tree.runs.find(({ label }) => label === "stuck");
  const told = await reader.call("runs.get", { runId: child?.runId ?? "" });
  const denied = await refusal(reader.call("runs.cancel", { runId: "seen-1" }));
  const cancelled = await writer.call("runs.cancel", { runId: "seen-1" });
  const again = await writer.call("runs.cancel", { runId: "seen-1" });

  assert.deepEqual(
    runs.map(({ wireId, startedBy, children, delivery }) => [wireId, startedBy, children, delivery.status]),
    [["seen-1", "secret:local", { total: 1, open: 1 }, "not_required"]],
  );
  assert.deepEqual(tree.runs.length, 2);
  assert.deepEqual([told.run.status, told.run.delivery.status], ["running", "pending"]);
  assert.deepEqual(
    told.ancestors.map(({ wireId }) => wireId),
    ["seen-1"],
  );
  assert.equal(denied.code, "MISSING_SCOPE");
  assert.deepEqual([cancelled.status, cancelled.cancelledRunIds.length], ["cancelled", 2]);
  assert.deepEqual([again.status, again.cancelledRunIds.length], ["cancelled", 0]);
});

test("pages follow each other without a gap, and a cursor that is none is refused", async () => {
  const caller = gw.callerWith("operator.write");
  for (const key of ["page-1", "page-2", "page-3"])
    await caller.call("agent", { message: script("x", { say: key }), sessionKey: "pages", idempotencyKey: key });

  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await caller.call("runs.list", { sessionKey: "pages", limit: 2, ...(cursor === undefined ? {} : { cursor }) });
    seen.push(...page.runs.map(({ wireId }) => wireId));
    cursor = page.nextCursor;
  } while (cursor !== undefined);

  assert.deepEqual(seen, ["page-3", "page-2", "page-1"]);
  assert.equal((await refusal(caller.call("runs.list", { cursor: "1 or 1" }))).code, "INVALID_PARAMS");
});

test("a run sees the runs of its own tree and no other, and decides about none", async () => {
  const caller = gw.callerWith("operator.write");
  for (const key of ["mine", "theirs"])
    await caller.call("agent", { message: script("x", { say: key }), sessionKey: key, idempotencyKey: key });
  const own = await gw.gateway.store.runs.findByWireId("mine", {});
  const inside = createCaller(gw.gateway.dispatch, runPrincipal(own ?? assert.fail()));

  const { runs } = await inside.call("runs.list", {});
  const other = await refusal(inside.call("runs.get", { runId: "theirs" }));
  const tree = await refusal(inside.call("runs.tree", { runId: "theirs" }));
  const refused = await Promise.all(
    (["runs.cancel", "runs.retry", "runs.dismiss"] as const).map((name) => refusal(inside.call(name, { runId: own?.runId ?? "" }))),
  );

  assert.deepEqual(
    runs.map(({ wireId }) => wireId),
    ["mine"],
  );
  assert.deepEqual([other.code, tree.code], ["UNKNOWN_RUN", "UNKNOWN_RUN"]);
  assert.deepEqual(
    refused.map(({ code }) => code),
    ["WRONG_CALLER", "WRONG_CALLER", "WRONG_CALLER"],
  );
});

test("what nobody can be told again says why, and the session of a result that is gone leaves dismissing it", async () => {
  const caller = gw.callerWith("operator.write");
  const fails = script(
    "go",
    { call: [spawnStep("lost", { say: "found" })] },
    { awaitChildren: true },
    { fail: { kind: "auth", retryable: false } },
  );
  await refusal(caller.call("agent", { message: fails, sessionKey: "gone", idempotencyKey: "gone-1" }));
  const { runs } = await caller.call("runs.tree", { runId: "gone-1" });
  const runId = runs.find(({ label }) => label === "lost")?.runId ?? assert.fail();
  await gw.callerWith("operator.admin").call("sessions.delete", { key: "gone" });

  const notOwed = await refusal(caller.call("runs.retry", { runId: "gone-1" }));
  const noSession = await refusal(caller.call("runs.retry", { runId }));
  await caller.call("runs.dismiss", { runId });
  const twice = await refusal(caller.call("runs.dismiss", { runId }));

  assert.deepEqual([notOwed.code, notOwed.details["delivery"]], ["DELIVERY_SETTLED", "not_required"]);
  assert.equal(noSession.code, "UNKNOWN_SESSION");
  assert.match(noSession.remedy ?? "", /runs dismiss/);
  assert.deepEqual([twice.code, twice.details["delivery"]], ["DELIVERY_SETTLED", "dismissed"]);
});

test("on the command line a result that its reader lost is found, delivered again and told", async () => {
  await using home: CliHome = await openHome();
  const steps: Step[] = [
    { call: [spawnStep("survey", { say: "three files" })] },
    { awaitChildren: true },
    { fail: { kind: "auth", retryable: false } },
    { say: "again: {{children}}" },
  ];
  await home.cli(["agent", script("go", ...steps)]);

  const undelivered = await home.cli(["runs", "list", "--undelivered"]);
  const counted = await home.cli(["status"]);
  const doctor = await home.cli(["doctor"]);
  const retried = await home.cli(["runs", "retry", "survey"]);
  const tree = await home.cli(["runs", "tree", "survey"]);
  const told = await home.cli(["runs", "show", "survey"]);
  const cancelled = await home.cli(["runs", "cancel", "survey"]);
  const unknown = await home.cli(["runs", "show", "nothing-like-it"]);

  assert.match(undelivered.out, /survey .* unconfirmed$/m);
  assert.match(counted.out, /, 1 undelivered$/m);
  assert.match(doctor.out, /runs: the result of run (run_[0-9a-f]+) .* unconfirmed.*\n +cure: \.\/portreeve runs show \1 .*retry.*dismiss/);
  assert.doesNotMatch(doctor.out, /every result is delivered/);
  assert.match(retried.out, /^Delivery 2 to agent:main:main/);
  assert.match(tree.out, /survey/);
  assert.match(told.out, /^state +succeeded[^]*^delivery 1 .* superseded by run .* decided by device[^]*^delivery 2 [^]*^because run /m);
  assert.match(cancelled.out, /^Nothing to stop: it is succeeded/);
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /unknown run "nothing-like-it"\nSee the runs there are: \.\/portreeve runs/);
});

test("a watched list goes on and tells each change until Ctrl-C", async () => {
  await using home: CliHome = await openHome();
  const abort = new AbortController();
  const lines: string[] = [];
  const listed = Promise.withResolvers<void>();
  const told = Promise.withResolvers<void>();
  const io: Io = {
    ...captureIo({ env: { PORTREEVE_HOME: home.path } }),
    out: (text) => {
      lines.push(text);
      if (text.startsWith("No run fits")) listed.resolve();
      if (text.includes("succeeded")) told.resolve();
    },
    interrupted: () => abort.signal,
  };

  const watching = run(["runs", "list", "--watch"], io);
  await listed.promise;
  await home.cli(["agent", script("x", { call: [spawnStep("seen", { say: "y" })] }, { awaitChildren: true }, { say: "z" })]);
  await told.promise;
  abort.abort(new Error("interrupted"));

  assert.equal(await watching, 0);
  assert.match(lines.join(""), /^\w{8} succeeded \(stop\), result (not required|delivered|pending)/m);
});
