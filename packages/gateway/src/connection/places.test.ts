import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "@portreeve/protocol";
import { Places } from "./places.ts";

const { unauthenticatedSockets: inAll, unauthenticatedSocketsPerPeer: perPeer } = limits;

/** Places that are taken as `clear` says, and who had to go. */
function open() {
  const places = new Places();
  const evicted: string[] = [];
  const enter = (peer: string, name = peer): string => {
    const verdict = places.clear(peer);
    if (verdict !== "free") return verdict;
    const leave = places.take(peer, {
      evict: () => {
        evicted.push(name);
        leave();
      },
    });
    return verdict;
  };
  return { places, evicted, enter };
}

test("a peer has so many places and no more, whatever is free", () => {
  const { enter } = open();
  for (let index = 0; index < perPeer; index += 1) enter("a");

  assert.equal(enter("a"), "peer-full");
  assert.equal(enter("b"), "free");
});

test("when everything is taken, the oldest guest of the peer with the most makes room", () => {
  const { enter, evicted } = open();
  for (let peer = 0; peer < inAll / perPeer; peer += 1)
    for (let index = 0; index < perPeer; index += 1) enter(`flood ${peer}`, `flood ${peer}, ${index}`);

  assert.deepEqual([enter("new"), enter("new")], ["free", "free"]);
  assert.deepEqual(evicted, ["flood 0, 0", "flood 1, 0"]);
});

test("whoever holds as few as the newcomer keeps its place", () => {
  const { enter, evicted } = open();
  for (let peer = 0; peer < inAll; peer += 1) enter(`one ${peer}`);

  assert.equal(enter("new"), "full");
  assert.equal(enter("one 0"), "full");
  assert.deepEqual(evicted, []);
});

test("a place is given back once, however often its guest leaves", () => {
  const { places } = open();
  const leaves = Array.from({ length: inAll }, (_, peer) => places.take(`one ${peer}`, { evict: () => undefined }));

  for (let time = 0; time < 3; time += 1) leaves[0]?.();

  assert.equal(places.clear("new"), "free");
  places.take("new", { evict: () => undefined });
  assert.equal(places.clear("another"), "full");
});
