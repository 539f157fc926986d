/**
 * `npm run bench:handshake [-- --json]`: signed connect → hello, one at a time and 20 at a time, beside a bare `ws` server that
 * does the same cryptography; then what 10,000 idle paired sockets hold. Servers and client are processes of their own.
 * It reports against aims and never fails over a number: those depend on the machine.
 */
import { createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { mkdtempDisposableSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { bundle } from "../scripts/bundle.ts";
import { atLeast, atMost, median, type Measure, percentile, printTable } from "./measure.ts";
import { benchEnv, launcher, readRss, root, type Server, startServer } from "./processes.ts";

interface Device {
  readonly id: string;
  readonly publicKey: string;
  readonly privateKey: KeyObject;
  readonly deviceToken: string;
}

interface Timings {
  /** Milliseconds of each handshake, one at a time. */
  readonly sequential: readonly number[];
  /** Handshakes a second, `atOnce` at a time. */
  readonly perSecond: number;
}

const rounds = 3;
const warmUps = 100;
const sequentialRuns = 200;
const parallelRuns = 1_000;
const atOnce = 20;
const idleSockets = 10_000;
/** A device may have 32 open sockets. */
const idleDevices = 400;
/** What connecting allocated and let go is gone by then. */
const settleMs = 3_000;
const scopes = ["operator.read", "operator.write"];

/** One handshake; resolves with the socket and what the hello said. `secret` pairs the device, its token is used afterwards. */
function handshake(url: string, device: Device, secret?: string): Promise<{ readonly socket: WebSocket; readonly payload: unknown }> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data)) as { event?: string; id?: string; ok?: boolean; payload: { nonce: string; ts: number } };
      if (frame.event === "connect.challenge") return socket.send(toConnect(device, frame.payload, secret));
      if (frame.id !== "c") return;
      if (frame.ok === true) resolve({ socket, payload: frame.payload });
      else reject(new Error(`refused: ${String(data)}`));
    });
    socket.once("close", (code) => reject(new Error(`closed with ${code} before the hello`)));
  });
}

function toConnect(
  { id, publicKey, privateKey, deviceToken }: Device,
  { nonce, ts }: { nonce: string; ts: number },
  secret?: string,
): string {
  const client = { id: "test", mode: "test", version: "1", platform: "linux" };
  const auth = secret === undefined ? { deviceToken } : { token: secret };
  const text = ["v3", id, client.id, client.mode, "operator", scopes.join(","), ts, secret ?? deviceToken, nonce, client.platform, ""].join(
    "|",
  );
  const signature = sign(null, Buffer.from(text), privateKey).toString("base64url");
  const device = { id, publicKey, signature, signedAt: ts, nonce };
  const params = { minProtocol: 4, maxProtocol: 4, client, role: "operator", scopes, auth, device };
  return JSON.stringify({ type: "req", id: "c", method: "connect", params });
}

/** A new device, paired with the gateway by its secret. */
async function pairDevice(url: string, secret: string): Promise<Device> {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "jwk" }).x ?? "";
  const id = createHash("sha256").update(Buffer.from(raw, "base64url")).digest("hex");
  const unpaired = { id, publicKey: raw, privateKey, deviceToken: "" };
  const { socket, payload } = await handshake(url, unpaired, secret);
  await close(socket);
  return { ...unpaired, deviceToken: (payload as { auth: { deviceToken: string } }).auth.deviceToken };
}

async function close(socket: WebSocket): Promise<void> {
  const closed = once(socket, "close");
  socket.close();
  await closed;
}

async function time(url: string, device: Device): Promise<Timings> {
  const sequential: number[] = [];
  for (let run = 0; run < sequentialRuns; run += 1) {
    const startedAt = performance.now();
    const { socket } = await handshake(url, device);
    sequential.push(performance.now() - startedAt);
    await close(socket);
  }
  let left = parallelRuns;
  const startedAt = performance.now();
  const keepGoing = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await close((await handshake(url, device)).socket);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, keepGoing));
  return { sequential, perSecond: (parallelRuns * 1_000) / (performance.now() - startedAt) };
}

/** Turn and turn about, so that a slow minute of the machine hits both. */
async function timeBoth(gateway: Server, bare: Server, device: Device): Promise<{ gateway: Timings; bare: Timings }> {
  for (let run = 0; run < warmUps; run += 1) for (const { url } of [gateway, bare]) await close((await handshake(url, device)).socket);
  const taken: { gateway: Timings[]; bare: Timings[] } = { gateway: [], bare: [] };
  for (let round = 0; round < rounds; round += 1) {
    taken.bare.push(await time(bare.url, device));
    taken.gateway.push(await time(gateway.url, device));
  }
  const sum = (all: readonly Timings[]): Timings => ({
    sequential: all.flatMap((one) => one.sequential),
    perSecond: median(all.map((one) => one.perSecond)),
  });
  return { gateway: sum(taken.gateway), bare: sum(taken.bare) };
}

function startGateway(home: string): Promise<Server> {
  return startServer(launcher, ["gateway", "run", "--json", "--port", "0"], benchEnv(home));
}

function readSecret(home: string): string {
  return readFileSync(join(home, "portreeve/state/secret"), "utf8").trim();
}

async function measureSpeed(): Promise<{ gateway: Timings; bare: Timings }> {
  using home = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-"));
  await using gateway = await startGateway(home.path);
  await using bare = await startServer(process.execPath, [join(import.meta.dirname, "bare-handshake.ts")], benchEnv(home.path));
  return await timeBoth(gateway, bare, await pairDevice(gateway.url, readSecret(home.path)));
}

/** In a gateway of its own: what thousands of handshakes before it left to the collector is not what sockets hold. */
async function measureIdle(): Promise<{ readonly beforeMb: number; readonly heldMb: number }> {
  using home = mkdtempDisposableSync(join(tmpdir(), "portreeve-bench-"));
  await using gateway = await startGateway(home.path);
  return await holdIdle(gateway, readSecret(home.path));
}

/** Opens the idle sockets in waves, since a peer may hold only 32 that have not said hello, and reads what the gateway holds. */
async function holdIdle(gateway: Server, secret: string): Promise<{ readonly beforeMb: number; readonly heldMb: number }> {
  const devices: Device[] = [];
  for (let index = 0; index < idleDevices; index += 1) devices.push(await pairDevice(gateway.url, secret));
  const beforeMb = readRss(gateway.pid);
  const sockets: WebSocket[] = [];
  let opened = 0;
  const keepOpening = async (): Promise<void> => {
    while (opened < idleSockets) {
      const device = devices[opened % devices.length];
      opened += 1;
      if (device !== undefined) sockets.push((await handshake(gateway.url, device)).socket);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, keepOpening));
  await sleep(settleMs);
  const heldMb = readRss(gateway.pid);
  const open = sockets.filter((socket) => socket.readyState === WebSocket.OPEN).length;
  if (open !== idleSockets) throw new Error(`only ${open} of ${idleSockets} sockets are open`);
  for (const socket of sockets) socket.terminate();
  return { beforeMb, heldMb };
}

async function measure(): Promise<readonly Measure[]> {
  await bundle(root);
  const timings = await measureSpeed();
  const { beforeMb, heldMb } = await measureIdle();
  const p = (timing: Timings, share: number): number => percentile(timing.sequential, share);
  return [
    { name: "one at a time, p50", value: p(timings.gateway, 0.5), unit: "ms" },
    { name: "one at a time, p99", value: p(timings.gateway, 0.99), unit: "ms" },
    { name: "one at a time, p50, bare", value: p(timings.bare, 0.5), unit: "ms" },
    { name: "one at a time, p99, bare", value: p(timings.bare, 0.99), unit: "ms" },
    {
      name: "speed of the bare one, one at a time",
      value: (100 * p(timings.bare, 0.5)) / p(timings.gateway, 0.5),
      unit: "%",
      ...atLeast(60),
    },
    { name: `${atOnce} at a time`, value: timings.gateway.perSecond, unit: "/s" },
    { name: `${atOnce} at a time, bare`, value: timings.bare.perSecond, unit: "/s" },
    {
      name: `speed of the bare one, ${atOnce} at a time`,
      value: (100 * timings.gateway.perSecond) / timings.bare.perSecond,
      unit: "%",
      ...atLeast(60),
    },
    { name: "memory before the idle sockets (RSS)", value: beforeMb, unit: "MB" },
    { name: "memory with 10,000 idle sockets (RSS)", value: heldMb, unit: "MB", ...atMost(250) },
  ];
}

if (import.meta.main) {
  const measures = await measure();
  if (process.argv.includes("--json")) console.log(JSON.stringify(measures));
  else printTable(measures);
}
