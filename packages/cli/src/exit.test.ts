import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionError, RemoteError, type ConnectionErrorKind } from "@portreeve/client";
import { captureIo } from "../../../test/support/captured-io.ts";
import { CliError, exitCodes, reportFailure, toFailure, usageError } from "./exit.ts";

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
    details: { code: "PAIRING_REQUIRED", remediationHint: "approve it" },
  });

  reportFailure(io, toFailure(error), true);

  assert.deepEqual(JSON.parse(io.stderr), { error: { code: "PAIRING_REQUIRED", message: "pairing required", remedy: "approve it" } });
});

test("a gateway's words cannot move a terminal's cursor", () => {
  const io = captureIo();

  reportFailure(io, toFailure(new CliError("failed", "bad\u001b[2J\u202Eword\u0007")), false);

  assert.equal(io.stderr, "portreeve: badword\n");
});
