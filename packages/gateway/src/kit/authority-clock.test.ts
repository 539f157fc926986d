import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { createAuthorityClock } from "./authority-clock.ts";
import type { SteadyClock } from "./clock.ts";

/** `wallMs` can be set to anything; `elapsedMs` only grows. */
function createMachine(wallMs: number) {
  const machine = { wallMs, passedMs: 7, dueAtMs: 0 };
  const clock: SteadyClock = {
    now: () => machine.wallMs,
    elapsedMs: () => machine.passedMs,
    schedule(atMs) {
      machine.dueAtMs = atMs;
      return { [Symbol.dispose]: () => undefined };
    },
  };
  return { machine, clock };
}

test("however the machine's clock is moved, time goes on by at least what passed, and never back", () => {
  const steps = fc.array(fc.record({ passedMs: fc.nat(100_000), movedMs: fc.integer({ min: -1_000_000, max: 100_000 }) }));
  fc.assert(
    fc.property(steps, (moves) => {
      const { machine, clock } = createMachine(1_000_000);
      const authority = createAuthorityClock(clock, 0);
      for (const { passedMs, movedMs } of moves) {
        const before = authority.now();
        machine.passedMs += passedMs;
        machine.wallMs += passedMs + movedMs;

        const after = authority.now();

        assert.ok(after - before >= passedMs && after >= machine.wallMs);
      }
    }),
  );
});

test("a start with an earlier clock goes on from the newest time that was noted", () => {
  const { machine, clock } = createMachine(1_000);
  const authority = createAuthorityClock(clock, 5_000);

  machine.passedMs += 10;

  assert.equal(authority.now(), 5_010);
});

test("what is scheduled comes after as long as it says, by whatever clock", () => {
  const { machine, clock } = createMachine(1_000);
  const authority = createAuthorityClock(clock, 5_000);

  authority.schedule(authority.now() + 300, () => undefined);

  assert.equal(machine.dueAtMs, 1_300);
});
