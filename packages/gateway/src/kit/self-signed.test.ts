import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import test from "node:test";
import { createSelfSigned } from "./self-signed.ts";

const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const facts = {
  key,
  names: ["gate.example", "localhost", "127.0.0.1", "::1", "2001:db8::7:0:1"],
  notBefore: new Date("2026-01-02T03:04:05Z"),
  notAfter: new Date("2049-12-31T23:59:59Z"),
  serial: Buffer.from("ff112233445566778899aabbccddeeff", "hex"),
};

test("the certificate is one, signed by its own key, for its names and times", () => {
  const certificate = new X509Certificate(createSelfSigned(facts));

  assert.ok(certificate.verify(createPublicKey(key)));
  assert.ok(certificate.checkPrivateKey(key));
  assert.ok(certificate.checkIssued(certificate));
  assert.equal(certificate.subject, "CN=gate.example");
  assert.equal(certificate.serialNumber, "FF112233445566778899AABBCCDDEEFF");
  assert.deepEqual([certificate.validFromDate, certificate.validToDate], [facts.notBefore, facts.notAfter]);
  assert.deepEqual(
    ["127.0.0.1", "::1", "2001:db8::7:0:1", "127.0.0.2"].map((address) => certificate.checkIP(address) !== undefined),
    [true, true, true, false],
  );
  assert.deepEqual([certificate.checkHost("gate.example"), certificate.checkHost("localhost")], ["gate.example", "localhost"]);
  assert.equal(certificate.checkHost("other.example"), undefined);
  assert.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
});

test("a serial number that begins with zeros still reads: as a number it has none", () => {
  for (const [serial, shown] of [
    ["00112233445566778899aabbccddeeff", "112233445566778899AABBCCDDEEFF"],
    ["000000ff445566778899aabbccddeeff", "FF445566778899AABBCCDDEEFF"],
    ["00".repeat(16), "0"],
  ] as const) {
    const certificate = new X509Certificate(createSelfSigned({ ...facts, serial: Buffer.from(serial, "hex") }));

    assert.equal(certificate.serialNumber, shown);
  }
});

test("a time from 2050 on has four digits of a year", () => {
  const certificate = new X509Certificate(createSelfSigned({ ...facts, notAfter: new Date("2050-01-01T00:00:00Z") }));

  assert.deepEqual(certificate.validToDate, new Date("2050-01-01T00:00:00Z"));
});

test("many names make a long certificate that still reads", () => {
  const names = Array.from({ length: 60 }, (_, index) => `host-${index}.example`);
  const certificate = new X509Certificate(createSelfSigned({ ...facts, names }));

  assert.equal(certificate.checkHost("host-59.example"), "host-59.example");
  assert.ok(certificate.verify(createPublicKey(key)));
});
