import assert from "node:assert/strict";
import { Writable } from "node:stream";
import test from "node:test";
import { JoinedWrites } from "./joined-writes.ts";

/** A socket that tells how many writes each packet was. */
function makeSocket(): { socket: Writable; packets: number[] } {
  const packets: number[] = [];
  const socket = new Writable({
    write(_chunk, _encoding, done) {
      packets.push(1);
      done();
    },
    writev(chunks, done) {
      packets.push(chunks.length);
      done();
    },
  });
  return { socket, packets };
}

test("what is written in one turn, and by the promises it settles, leaves together; the next turn's does not wait", async () => {
  const { socket, packets } = makeSocket();
  const writes = new JoinedWrites(socket);
  const write = (): void => {
    writes.holdAnswer();
    socket.write("x");
  };

  await new Promise((resolve) => setImmediate(resolve));
  write();
  write();
  await Promise.resolve();
  write();
  await new Promise((resolve) => setImmediate(resolve));
  write();
  await new Promise((resolve) => setImmediate(resolve));

  assert.deepEqual(packets, [3, 1]);
});

test("what only tells leaves at the end of a turn of the event loop, or with the answer that comes before that", async () => {
  const { socket, packets } = makeSocket();
  const writes = new JoinedWrites(socket);
  const tell = (): void => {
    writes.holdEvent();
    socket.write("x");
  };
  const answer = (): void => {
    writes.holdAnswer();
    socket.write("x");
  };
  const tick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

  tell();
  await tick();
  tell();
  assert.deepEqual(packets, []);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(packets, [2]);

  tell();
  answer();
  await tick();
  assert.deepEqual(packets, [2, 2]);
  tell();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(packets, [2, 2, 1]);
});

test("more than a packet holds does not wait, and a flush leaves nothing behind for a socket that is destroyed", () => {
  const { socket, packets } = makeSocket();
  const writes = new JoinedWrites(socket);

  writes.holdAnswer();
  socket.write("x".repeat(70_000));
  writes.holdAnswer();
  const full = [...packets];
  writes.holdAnswer();
  socket.write("x");
  writes.flush();

  assert.deepEqual([full, packets], [[1], [1, 1]]);
});
