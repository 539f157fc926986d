import type { Mutant } from "./mutant-list.ts";

const hearing = "packages/gateway/src/principal/hearing.ts";
const events = "test/events.test.ts";

/** Events: who hears them, and what becomes of whoever does not read. */
export const eventMutants: readonly Mutant[] = [
  {
    what: "an event is told to every operator, whatever it may do",
    file: hearing,
    from: "return isOperator && covers(principal.scopes, scope);",
    to: "return isOperator || covers(principal.scopes, scope);",
    testFile: events,
    killedBy: "version 4: nobody hears an event whose scope it lacks",
  },
  {
    what: "an event that waits for nobody is kept for whoever does not read",
    file: "packages/gateway/src/connection/outbound.ts",
    from: "if (droppable && this.#isFull()) return;",
    to: "if (droppable && this.#isClosed) return;",
    testFile: events,
    killedBy: "whoever stops reading",
  },
  {
    what: "whoever does not read is kept for ever",
    file: "packages/gateway/src/connection/outbound.ts",
    from: 'if (this.#isFull()) this.close(1008, "slow consumer");',
    to: 'if (this.#seq < 0) this.close(1008, "slow consumer");',
    testFile: "packages/gateway/src/connection/outbound.test.ts",
    killedBy: "^a slow reader is closed",
  },
];
