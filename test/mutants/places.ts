import { type Mutant, tests } from "./mutant-list.ts";

const places = { file: "packages/gateway/src/connection/places.ts", testFile: tests.places };

export const placesMutants: readonly Mutant[] = [
  {
    ...places,
    what: "sockets without a hello are not bounded in all",
    from: "this.#taken < limits.unauthenticatedSockets",
    to: "this.#taken < Infinity",
    killedBy: "whoever holds as few",
  },
  {
    ...places,
    what: "a peer without a socket is kept out by those that hold many",
    from: "oldest?.evict();\n    return",
    to: 'return "full";\n    return',
    killedBy: "when everything is taken",
  },
  {
    ...places,
    what: "a newcomer takes the place of who holds no more than it would",
    from: "held + 2",
    to: "held + 1",
    killedBy: "whoever holds as few",
  },
  {
    ...places,
    what: "a place is given back twice",
    from: "if (!held.delete(guest)) return;",
    to: "held.delete(guest);",
    killedBy: "a place is given back once",
  },
  {
    what: "every address of an IPv6 network has places of its own",
    file: "packages/gateway/src/connection/door.ts",
    from: "toNetwork(address)",
    to: "(toNetwork, address)",
    testFile: tests.listener,
    killedBy: "an IPv6 network",
  },
  {
    what: "an upgrade is accepted whatever the places say",
    file: "packages/gateway/src/connection/door.ts",
    from: 'if (verdict !== "free") {',
    to: 'if (verdict !== "free" && Boolean(0)) {',
    testFile: tests.listener,
    killedBy: "bounded in all",
  },
];
