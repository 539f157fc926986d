/** Places for sockets without a hello: so many a peer, so many in all, and a peer that holds many makes room for one that holds few. */
import { limits } from "@portreeve/protocol";

/** Whoever takes a place can be asked to give it up. */
export interface Guest {
  /** Its place is free when this returns. */
  evict(): void;
}

export type PlaceVerdict = "free" | "peer-full" | "full";

export class Places {
  /** By peer; of each the oldest first. */
  readonly #guests = new Map<string, Set<Guest>>();
  #taken = 0;

  /** Whether a socket of `peer` may come in; when everything is taken, a guest of the peer with the most has gone to let it. */
  clear(peer: string): PlaceVerdict {
    const held = this.#guests.get(peer)?.size ?? 0;
    if (held >= limits.unauthenticatedSocketsPerPeer) return "peer-full";
    if (this.#taken < limits.unauthenticatedSockets) return "free";
    const most = [...this.#guests.values()].reduce((one, other) => (other.size > one.size ? other : one));
    // With one place less than the newcomer would have, whoever gave it would be owed one.
    if (most.size < held + 2) return "full";
    const [oldest] = most;
    oldest?.evict();
    return "free";
  }

  /** Takes a place until what it returns is called. */
  take(peer: string, guest: Guest): () => void {
    const held = this.#guests.get(peer) ?? new Set();
    this.#guests.set(peer, held.add(guest));
    this.#taken += 1;
    return () => {
      if (!held.delete(guest)) return;
      this.#taken -= 1;
      if (held.size === 0) this.#guests.delete(peer);
    };
  }
}
