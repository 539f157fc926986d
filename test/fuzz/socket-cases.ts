/** One damaged handshake over a real socket: who asks, with what, how it is broken, and how its bytes arrive. */
import { scopeNames } from "@portreeve/protocol";
import fc from "fast-check";
import { encodeFrame, type RawPeer } from "../support/raw-peer.ts";
import { connectParams, type ConnectInput, type WireKey } from "../support/wire-client.ts";
import { connectText, mutate, mutation, type Mutation, textChange, type TextChange } from "./connect-mutations.ts";

export const deviceCount = 64;

export interface SocketCase {
  /** Undefined: no device. */
  readonly device: number | undefined;
  readonly credential: "secret" | "wrong" | "own token" | "another's token" | "none";
  readonly proof: "good" | "forged" | "replayed" | "stale" | "another's id";
  readonly scopes: readonly string[];
  readonly role: "operator" | "node";
  readonly protocol: 3 | 4;
  readonly isLocal: boolean;
  /** The last part of the address it comes from when it is not local. */
  readonly remoteHost: number;
  readonly origin: "none" | "allowed" | "foreign";
  readonly platform: "linux" | "Linux 6.1" | "plan9";
  readonly mutations: readonly Mutation[];
  readonly change: TextChange;
  readonly delivery: Delivery;
}

/** Deliveries whose first message is whole: the gateway must answer it or close. The others may be waiting for more. */
const wholeDeliveries = [
  "plain",
  "fragments",
  "bytes",
  "pipelined",
  "twice",
  "after pings",
  "binary",
  "unmasked",
  "reserved bits",
  "bad opcode",
  "long ping",
  "close first",
  "not UTF-8",
] as const;
const openDeliveries = ["nothing", "half frame", "open fragment", "pings only", "gone in the middle"] as const;
type Delivery = (typeof wholeDeliveries)[number] | (typeof openDeliveries)[number];

export function mustBeAnswered({ delivery }: SocketCase): boolean {
  return wholeDeliveries.some((whole) => whole === delivery);
}

/** Whether nothing but what a right client sends was sent. */
export function isUndamaged({ proof, mutations, change, delivery }: SocketCase): boolean {
  return proof === "good" && mutations.length === 0 && change === "none" && (delivery === "plain" || delivery === "fragments");
}

export const socketCase: fc.Arbitrary<SocketCase> = fc.record({
  device: fc.oneof({ weight: 5, arbitrary: fc.nat(deviceCount - 1) }, { weight: 1, arbitrary: fc.constant(undefined) }),
  credential: fc.constantFrom("secret", "secret", "secret", "wrong", "own token", "own token", "another's token", "none"),
  proof: fc.oneof(
    { weight: 4, arbitrary: fc.constant("good") },
    { weight: 1, arbitrary: fc.constantFrom("forged", "replayed", "stale", "another's id") },
  ),
  scopes: fc.subarray([...scopeNames, "operator.bogus"], { maxLength: 4 }),
  role: fc.constantFrom("operator", "operator", "operator", "node"),
  protocol: fc.constantFrom(3, 4),
  isLocal: fc.boolean(),
  // One that is soon locked out among many that are not.
  remoteHost: fc.oneof({ weight: 1, arbitrary: fc.constant(7) }, { weight: 9, arbitrary: fc.integer({ min: 8, max: 250 }) }),
  origin: fc.constantFrom("none", "none", "none", "none", "none", "none", "allowed", "foreign"),
  platform: fc.constantFrom("linux", "linux", "linux", "linux", "linux", "linux", "Linux 6.1", "plan9"),
  mutations: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 2, arbitrary: fc.array(mutation, { minLength: 1, maxLength: 3 }) },
  ),
  change: fc.oneof({ weight: 4, arbitrary: fc.constant("none") }, { weight: 1, arbitrary: textChange }),
  delivery: fc.oneof(
    { weight: 6, arbitrary: fc.constant("plain") },
    { weight: 3, arbitrary: fc.constantFrom(...wholeDeliveries) },
    { weight: 1, arbitrary: fc.constantFrom(...openDeliveries) },
  ),
});

export interface Secrets {
  readonly nowMs: number;
  readonly secret: string;
  readonly keys: readonly WireKey[];
  /** Device tokens by device, as hellos gave them. */
  readonly tokens: ReadonlyMap<number, string>;
  /** A nonce of a connection before this one. */
  readonly oldNonce: string;
}

/** The headers that the case's peer and page come with. */
export function headersOf({ isLocal, remoteHost, origin }: SocketCase): Readonly<Record<string, string>> {
  return {
    ...(isLocal ? {} : { "x-forwarded-for": `203.0.113.${remoteHost}` }),
    ...(origin === "none" ? {} : { origin: origin === "allowed" ? "http://localhost:5173" : "https://attacker.example" }),
  };
}

/** The token that the case presents, if its credential is one. */
export function tokenOf(one: SocketCase, { tokens }: Secrets): string | undefined {
  if (one.credential === "own token") return one.device === undefined ? undefined : tokens.get(one.device);
  if (one.credential !== "another's token") return undefined;
  return [...tokens].find(([device]) => device !== one.device)?.[1];
}

/** The `connect` message of the case for a connection with this nonce. */
export function connectMessage(one: SocketCase, nonce: string, secrets: Secrets): string {
  const key = one.device === undefined ? undefined : secrets.keys[one.device];
  const other = secrets.keys[((one.device ?? 0) + 1) % secrets.keys.length];
  const deviceToken = tokenOf(one, secrets);
  const token = { secret: secrets.secret, wrong: "wrong" }[one.credential as string];
  const signer: WireKey | undefined =
    key === undefined || other === undefined
      ? undefined
      : {
          good: key,
          forged: { ...key, privateKey: other.privateKey },
          replayed: key,
          stale: key,
          "another's id": { ...key, id: other.id },
        }[one.proof];
  const input: ConnectInput = {
    scopes: one.scopes,
    role: one.role,
    protocol: one.protocol,
    client: { platform: one.platform },
    signedAt: secrets.nowMs - (one.proof === "stale" ? 130_000 : 0),
    nonce: one.proof === "replayed" ? secrets.oldNonce : nonce,
    ...(signer === undefined ? {} : { key: signer }),
    ...(token === undefined ? {} : { token }),
    ...(deviceToken === undefined ? {} : { deviceToken }),
  };
  const params = one.mutations.reduce((whole: object, change) => mutate(whole, change), connectParams({ nonce }, input));
  return connectText(params, one.change);
}

const pipelined = ["status", "device.pair.list", "sessions.delete", "health"].map((method, index) =>
  JSON.stringify({ type: "req", id: `p${index}`, method, params: method === "sessions.delete" ? { key: "x" } : {} }),
);

/** Sends the message the way the case says. */
export function deliver(peer: RawPeer, delivery: Delivery, message: string): void {
  const payload = Buffer.from(message, "utf8");
  const whole = encodeFrame(payload);
  const ping = encodeFrame(Buffer.from("hello"), { opcode: 9 });
  const third = Math.ceil(payload.length / 3);
  const ways: Readonly<Record<Delivery, () => readonly Buffer[]>> = {
    plain: () => [whole],
    fragments: () => [
      encodeFrame(payload.subarray(0, third), { isLast: false }),
      ping,
      encodeFrame(payload.subarray(third, 2 * third), { opcode: 0, isLast: false }),
      encodeFrame(payload.subarray(2 * third), { opcode: 0 }),
    ],
    bytes: () =>
      Array.from({ length: Math.min(40, whole.length) }, (_, index) => whole.subarray(index, index === 39 ? undefined : index + 1)),
    pipelined: () => [whole, ...pipelined.map((text) => encodeFrame(Buffer.from(text)))],
    twice: () => [whole, whole],
    "after pings": () => [...Array.from({ length: 20 }, () => ping), encodeFrame(Buffer.alloc(0), { opcode: 10 }), whole],
    binary: () => [encodeFrame(payload, { opcode: 2 })],
    unmasked: () => [encodeFrame(payload, { isMasked: false })],
    "reserved bits": () => [encodeFrame(payload, { reserved: 4 })],
    "bad opcode": () => [encodeFrame(payload, { opcode: 5 })],
    "long ping": () => [encodeFrame(Buffer.alloc(200), { opcode: 9 }), whole],
    "close first": () => [encodeFrame(Buffer.from([0x03, 0xe8]), { opcode: 8 }), whole],
    "not UTF-8": () => [encodeFrame(Buffer.concat([payload, Buffer.from([0xff, 0xc0])]))],
    nothing: () => [],
    "half frame": () => [whole.subarray(0, Math.floor(whole.length / 2))],
    "open fragment": () => [encodeFrame(payload, { isLast: false })],
    "pings only": () => [ping, ping],
    "gone in the middle": () => [whole.subarray(0, whole.length - 3)],
  };
  for (const bytes of ways[delivery]()) peer.write(bytes);
  if (delivery === "gone in the middle") peer.destroy();
}
