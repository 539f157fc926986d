/**
 * One self-signed certificate, written by hand: Node makes keys and signatures but no X.509. DER for exactly this shape
 * (version 3, P-256, ECDSA with SHA-256, subject alternative names) and no other.
 */
import { createPublicKey, sign, type KeyObject } from "node:crypto";
import { isIP } from "node:net";

export interface CertificateFacts {
  /** A P-256 private key. */
  readonly key: KeyObject;
  /** DNS names and IP addresses the certificate is for; the first is its subject. */
  readonly names: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** 16 random bytes. */
  readonly serial: Buffer;
}

/** The certificate as PEM. */
export function createSelfSigned({ key, names, notBefore, notAfter, serial }: CertificateFacts): string {
  const name = sequence(der(0x31, sequence(oid.commonName, der(0x0c, Buffer.from(names[0] ?? "", "utf8")))));
  const algorithm = sequence(oid.ecdsaWithSha256);
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    algorithm,
    name,
    sequence(time(notBefore), time(notAfter)),
    name,
    createPublicKey(key).export({ type: "spki", format: "der" }),
    der(0xa3, sequence(extension(oid.serverUse, sequence(oid.serverAuth)), extension(oid.altNames, sequence(...names.map(altName))))),
  );
  const signature = der(0x03, Buffer.from([0]), sign("sha256", body, key));
  const base64 = sequence(body, algorithm, signature).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${(base64.match(/.{1,64}/g) ?? []).join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** Object identifiers, encoded whole. */
const oid = {
  ecdsaWithSha256: Buffer.from("06082a8648ce3d040302", "hex"),
  commonName: Buffer.from("0603550403", "hex"),
  altNames: Buffer.from("0603551d11", "hex"),
  serverUse: Buffer.from("0603551d25", "hex"),
  serverAuth: Buffer.from("06082b06010505070301", "hex"),
};

function extension(id: Buffer, value: Buffer): Buffer {
  return sequence(id, der(0x04, value));
}

function altName(name: string): Buffer {
  return isIP(name) === 0 ? der(0x82, Buffer.from(name, "ascii")) : der(0x87, toAddressBytes(name));
}

function toAddressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  const [head = "", tail] = address.split("::");
  const left = head.split(":").filter((group) => group !== "");
  const right = (tail ?? "").split(":").filter((group) => group !== "");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  const groups = [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
  return Buffer.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Two-digit years until 2049, as the standard has it. */
function time(at: Date): Buffer {
  const digits = at.toISOString().replace(/\.\d+Z$|[-:T]/g, "");
  return at.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(`${digits.slice(2)}Z`)) : der(0x18, Buffer.from(`${digits}Z`));
}

/** A positive one: a leading bit would make it negative. Zeros before it are refused by whoever reads it. */
function integer(bytes: Buffer): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first === -1 ? Buffer.from([0]) : bytes.subarray(first);
  return der(0x02, ((digits[0] ?? 0) & 0x80) === 0 ? digits : Buffer.concat([Buffer.from([0]), digits]));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
