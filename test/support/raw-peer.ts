/** A WebSocket client below the frames: it writes any bytes, whole or broken, and reads what the gateway sends. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Frame } from "./wire-client.ts";

export interface FrameShape {
  /** 1 text, 2 binary, 0 continuation, 8 close, 9 ping, 10 pong. */
  readonly opcode?: number;
  readonly isLast?: boolean;
  readonly isMasked?: boolean;
  /** The three reserved bits. */
  readonly reserved?: number;
}

export interface RawPeer {
  /** Every JSON frame so far. */
  readonly frames: readonly Frame[];
  /** Resolves with the first response or with the end of the connection, whichever is first. */
  readonly answered: Promise<void>;
  /** Resolves when the connection is gone, with the code of the gateway's close frame if it sent one. */
  readonly closed: Promise<number | undefined>;
  write(bytes: Buffer): void;
  destroy(): void;
}

/** One frame as bytes. */
export function encodeFrame(payload: Buffer, { opcode = 1, isLast = true, isMasked = true, reserved = 0 }: FrameShape = {}): Buffer {
  const first = (isLast ? 0x80 : 0) | (reserved << 4) | opcode;
  const maskBit = isMasked ? 0x80 : 0;
  const { length } = payload;
  const head = length < 126 ? Buffer.from([first, maskBit | length]) : Buffer.alloc(length < 65_536 ? 4 : 10);
  if (length >= 126) {
    head.set([first, maskBit | (length < 65_536 ? 126 : 127)]);
    if (length < 65_536) head.writeUInt16BE(length, 2);
    else head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!isMasked) return Buffer.concat([head, payload]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

/** Opens a connection and waits for the challenge; undefined when the upgrade was refused. Answers a close frame with one. */
export async function openRawPeer(url: string, headers: Readonly<Record<string, string>> = {}): Promise<RawPeer | undefined> {
  const { host, port } = new URL(url);
  const socket = connect(Number(port), "127.0.0.1");
  socket.setNoDelay(true);
  socket.on("error", () => undefined);
  const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(
    `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n${extra.join("")}\r\n`,
  );
  const reader = new Reader(socket);
  await Promise.race([reader.challenged, reader.closed]);
  if (reader.frames.length === 0) return undefined;
  return {
    frames: reader.frames,
    answered: Promise.race([reader.answered, reader.closed.then(() => undefined)]),
    closed: reader.closed,
    write: (bytes) => void (socket.writable && socket.write(bytes)),
    destroy: () => void socket.destroy(),
  };
}

/** Cuts what the gateway sends into frames; its frames are never masked and never fragmented. */
class Reader {
  readonly frames: Frame[] = [];
  readonly closed: Promise<number | undefined>;
  readonly #challenged = Promise.withResolvers<void>();
  readonly #answered = Promise.withResolvers<void>();
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #isOpen = false;
  #closeCode: number | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.closed = once(socket, "close").then(() => this.#closeCode);
  }

  get challenged(): Promise<void> {
    return this.#challenged.promise;
  }

  get answered(): Promise<void> {
    return this.#answered.promise;
  }

  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (!this.#isOpen) {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!this.#bytes.toString("latin1", 0, end).startsWith("HTTP/1.1 101")) return void this.#socket.destroy();
      this.#isOpen = true;
      this.#bytes = this.#bytes.subarray(end + 4);
    }
    for (let frame = this.#takeFrame(); frame !== undefined; frame = this.#takeFrame()) this.#receive(frame.opcode, frame.payload);
  }

  #takeFrame(): { readonly opcode: number; readonly payload: Buffer } | undefined {
    const bytes = this.#bytes;
    if (bytes.length < 2) return undefined;
    const short = (bytes[1] ?? 0) & 0x7f;
    const headLength = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < headLength) return undefined;
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    if (bytes.length < headLength + length) return undefined;
    this.#bytes = bytes.subarray(headLength + length);
    return { opcode: (bytes[0] ?? 0) & 0x0f, payload: bytes.subarray(headLength, headLength + length) };
  }

  #receive(opcode: number, payload: Buffer): void {
    if (opcode === 8) {
      this.#closeCode = payload.length >= 2 ? payload.readUInt16BE(0) : undefined;
      if (this.#socket.writable) this.#socket.end(encodeFrame(payload.subarray(0, 2), { opcode: 8 }));
    }
    if (opcode !== 1) return;
    const frame = JSON.parse(payload.toString("utf8")) as Frame; // What a test reads of it is what it asserts.
    this.frames.push(frame);
    if (frame.event === "connect.challenge") this.#challenged.resolve();
    if (frame.type === "res") this.#answered.resolve();
  }
}
