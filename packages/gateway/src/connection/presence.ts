/** Who is here: the gateway itself, open connections, and what callers said of themselves a short while ago. */
import { hostname, platform, release, arch } from "node:os";
import type { ConnectParams, PresenceEntry } from "@portreeve/protocol";
import type { PresenceNote } from "../dispatch/types.ts";
import type { Clock } from "../kit/clock.ts";
import type { Principal } from "../principal/principal.ts";

/** An open connection, as far as presence goes. */
export interface Guest {
  readonly connId: string;
  readonly principal: Principal;
  readonly client: ConnectParams["client"];
}

export interface PresenceDeps {
  readonly clock: Clock;
  readonly self: Omit<PresenceEntry, "ts">;
  /** Somebody came, went or spoke: at most once in `tellAfterMs`, more seldom in a crowd. */
  readonly onChanged: () => void;
}

/** Comings and goings so close together are told together. */
const tellAfterMs = 250;
const noteLastsMs = 300_000;
const maxNotes = 64;
const maxListed = 200;
/** Entries that one telling sends, over all who hear it. */
const maxTold = 20_000;
/** So many hearers are a crowd: a telling to more is followed by as many times the pause. */
const crowd = 200;
const maxChars = 200;

/** Clients that come for one call and go: nobody wants to read of them. */
const unlisted: ReadonlySet<string> = new Set(["cli", "backend", "probe"]);

export class Presence implements Disposable {
  readonly #deps: PresenceDeps;
  readonly #guests = new Map<string, Guest & { readonly sinceMs: number }>();
  /** By principal; the oldest first. */
  readonly #notes = new Map<string, { readonly atMs: number; readonly note: PresenceNote; readonly deviceId: string | undefined }>();
  readonly #startedAtMs: number;
  #version = 0;
  #telling: Disposable | undefined;
  #told = { atMs: 0, pauseMs: 0 };
  #isOver = false;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.now();
  }

  /** The number of the list; a change makes it the next one. */
  get version(): number {
    return this.#version;
  }

  arrive(guest: Guest): void {
    if (unlisted.has(guest.client.mode)) return;
    this.#guests.set(guest.connId, { ...guest, sinceMs: this.#deps.clock.now() });
    this.#change();
  }

  leave(connId: string): void {
    if (this.#guests.delete(connId)) this.#change();
  }

  /** What `principal` says of itself stands with its connections, or alone, until it says something else or five minutes are over. */
  say(principal: Principal, note: PresenceNote): void {
    const deviceId = principal.kind === "device" ? principal.deviceId : undefined;
    this.#notes.delete(principal.id);
    this.#notes.set(principal.id, { atMs: this.#deps.clock.now(), note, deviceId });
    const [oldest] = this.#notes.keys();
    if (this.#notes.size > maxNotes && oldest !== undefined) this.#notes.delete(oldest);
    this.#change();
  }

  /** For one who asks: the gateway first, then the newest. */
  list(): readonly PresenceEntry[] {
    return this.#newest(maxListed);
  }

  /** For everyone here, at a hello and at each change: the more they are, the fewer it names, since each of them is sent it. */
  listForAll(): readonly PresenceEntry[] {
    return this.#newest(Math.max(2, Math.min(maxListed, Math.floor(maxTold / Math.max(1, this.#guests.size)))));
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#telling?.[Symbol.dispose]();
  }

  #newest(most: number): readonly PresenceEntry[] {
    const guests = [...this.#guests.values()].slice(-most).toReversed();
    return [
      { ...this.#deps.self, ts: this.#startedAtMs },
      ...guests.map((guest) => toEntry(guest, this.#notes.get(guest.principal.id))),
      ...this.#notesOfAbsent(),
    ].slice(0, most);
  }

  #notesOfAbsent(): readonly PresenceEntry[] {
    const nowMs = this.#deps.clock.now();
    for (const [id, { atMs }] of this.#notes) if (atMs + noteLastsMs <= nowMs) this.#notes.delete(id);
    if (this.#notes.size === 0) return [];
    const present = new Set(Array.from(this.#guests.values(), ({ principal }) => principal.id));
    const alone = [...this.#notes].filter(([id]) => !present.has(id)).toReversed();
    return alone.map(([, { atMs, note, deviceId }]) => ({
      ...note,
      reason: note.reason ?? "system-event",
      ts: atMs,
      ...(deviceId === undefined ? {} : { deviceId }),
    }));
  }

  #change(): void {
    if (this.#isOver) return;
    this.#version += 1;
    const { clock, onChanged } = this.#deps;
    if (this.#telling !== undefined) return;
    const nowMs = clock.now();
    const { atMs, pauseMs } = this.#told;
    // A clock set back does not prolong the pause.
    const restMs = Math.min(pauseMs, atMs + pauseMs - nowMs);
    this.#telling = clock.schedule(nowMs + Math.max(tellAfterMs, restMs), () => {
      this.#telling = undefined;
      this.#told = { atMs: clock.now(), pauseMs: tellAfterMs * (this.#guests.size / crowd) };
      onChanged();
    });
  }
}

/** The gateway's own entry. */
export function describeSelf(version: string): Omit<PresenceEntry, "ts"> {
  const host = hostname();
  const families: Readonly<Record<string, string>> = { linux: "Linux", darwin: "Mac", win32: "Windows" };
  const system = platform();
  return {
    host,
    version,
    platform: `${system} ${release()}`,
    deviceFamily: families[system] ?? system,
    modelIdentifier: arch(),
    mode: "gateway",
    reason: "self",
    text: `Gateway: ${host} · app ${version} · mode gateway · reason self`,
  };
}

function toEntry(
  { principal, client, sinceMs }: Guest & { readonly sinceMs: number },
  said: { readonly atMs: number; readonly note: PresenceNote } | undefined,
): PresenceEntry {
  const { mode, version, platform: system, displayName, deviceFamily, modelIdentifier, instanceId, timeZone } = client;
  const host = cut(displayName ?? client.id);
  const words = { platform: system, version, mode, deviceFamily, modelIdentifier, instanceId, timeZone };
  const known = Object.entries(words).flatMap(([name, value]) => (value === undefined ? [] : [[name, cut(value)] as const]));
  return {
    host,
    ...Object.fromEntries(known),
    text: `${host} · app ${cut(version)} · mode ${mode} · reason connect`,
    onlineSince: sinceMs,
    ...said?.note,
    reason: said?.note.reason ?? "connect",
    ts: said?.atMs ?? sinceMs,
    ...(principal.kind === "device" ? { deviceId: principal.deviceId, roles: [principal.role] } : {}),
    scopes: [...principal.scopes],
  };
}

function cut(text: string): string {
  return text.slice(0, maxChars);
}
