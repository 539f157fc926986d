import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionError, RemoteError, type ConnectionErrorKind } from "@portreeve/client";
import { errorRules } from "@portreeve/protocol";
import { captureIo } from "../../../test/support/captured-io.ts";
import { CliError, exitCodes, reportFailure, toFailure, usageError } from "./exit.ts";
import { nextSteps, toNextStep } from "./next-steps.ts";

const remote = (code: string): RemoteError => new RemoteError({ code: "INVALID_REQUEST", message: "no", details: { code } });
const connection = (kind: ConnectionErrorKind): ConnectionError => new ConnectionError(kind, "no", { phase: "connecting", url: "ws://x" });

const table: readonly (readonly [what: string, error: unknown, exit: number, code: string])[] = [
  ["a mistake in the command line", usageError("what"), 2, "USAGE"],
  ["an unknown method", remote("UNKNOWN_METHOD"), 1, "UNKNOWN_METHOD"],
  ["a failed run", new CliError("failed", "no", { code: "RUN_FAILED" }), 1, "RUN_FAILED"],
  ["nobody there", connection("unreachable"), 3, "UNREACHABLE"],
  ["a lost connection", connection("closed"), 3, "CONNECTION_CLOSED"],
  ["a pairing that waits", remote("PAIRING_REQUIRED"), 4, "PAIRING_REQUIRED"],
  ["a wrong secret", remote("AUTH_TOKEN_MISMATCH"), 4, "AUTH_TOKEN_MISMATCH"],
  ["a missing scope", remote("MISSING_SCOPE"), 4, "MISSING_SCOPE"],
  ["a device that cannot prove itself", remote("DEVICE_AUTH_SIGNATURE_INVALID"), 4, "DEVICE_AUTH_SIGNATURE_INVALID"],
  ["a gateway that does not prove itself", connection("unproved"), 4, "GATEWAY_UNPROVED"],
  ["no answer in time", connection("timeout"), 5, "TIMEOUT"],
  ["anything else", new TypeError("odd"), 1, "FAILED"],
];

for (const [what, error, exit, code] of table) {
  test(`${what} ends with ${exit}`, () => {
    const failure = toFailure(error);

    assert.deepEqual([exitCodes[failure.exit].code, failure.code], [exit, code]);
  });
}

test("a person reads what happened and then the next step", () => {
  const io = captureIo();

  const code = reportFailure(io, toFailure(connection("unreachable")), false);

  assert.equal(code, 3);
  assert.equal(io.stderr, "portreeve: no\nStart one with `./portreeve gateway run` (or `npm start`).\n");
  assert.equal(io.stdout, "");
});

test("a program reads one JSON object on standard error", () => {
  const io = captureIo();
  const error = new RemoteError({
    code: "NOT_PAIRED",
    message: "pairing required",
    details: { code: "PAIRING_REQUIRED", remediationHint: "run ./portreeve x" },
  });

  reportFailure(io, toFailure(error), true);

  assert.deepEqual(JSON.parse(io.stderr), {
    error: { code: "PAIRING_REQUIRED", message: "pairing required", remedy: "run ./portreeve x" },
  });
});

test("a gateway's words cannot move a terminal's cursor", () => {
  const io = captureIo();

  reportFailure(io, toFailure(new CliError("failed", "bad\u001b[2J\u202Eword\u0007")), false);

  assert.match(io.stderr, /^portreeve: badword\n/);
});

test("for every code there is a next step, said after the gateway's own words unless those name a command", () => {
  for (const code of Object.keys(errorRules)) assert.notEqual(toFailure(remote(code)).remedy, "", code);

  assert.equal(toNextStep("UNKNOWN_METHOD", undefined), nextSteps.UNKNOWN_METHOD);
  assert.equal(toNextStep("UNKNOWN_METHOD", "look"), `look\n${nextSteps.UNKNOWN_METHOD}`);
  assert.equal(toNextStep("UNKNOWN_METHOD", "run ./portreeve x"), "run ./portreeve x");
});

test("whatever is refused for lack of authority, the next step names a command", () => {
  const codes = Object.keys(errorRules).filter((code) => toFailure(remote(code)).exit === "unauthorised");

  assert.ok(codes.length > 10);
  for (const code of codes) assert.match(toFailure(remote(code)).remedy, /\.\/portreeve /, code);
});

test("a failure that says no step of its own gets one", () => {
  for (const exit of ["failed", "usage", "unreachable", "unauthorised", "timeout"] as const)
    assert.match(toFailure(new CliError(exit, "no")).remedy, /\.\/portreeve /, exit);
  for (const kind of ["unreachable", "closed", "timeout", "unproved"] as const)
    assert.notEqual(toFailure(connection(kind)).remedy, "", kind);
});
