/** The model server as the benchmark sees it: its address, the requests it got, and the gates it waits at. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { FromModel, ModelRequest, ToModel } from "./model-server.ts";

export interface Model extends Disposable {
  readonly baseUrl: string;
  /** When the first request with this tag arrived. */
  arrival(tag: string): Promise<number>;
  /** When the first request with this tag arrived and ended, whole or cut off. */
  end(tag: string): Promise<{ readonly arrivedAt: number; readonly endedAt: number }>;
  /** Whole answers so far. */
  answers(tag: string): number;
  /** Resolves when `isReached` is true; it is asked each time requests became known. */
  until(isReached: () => boolean): Promise<void>;
  release(gate: string): void;
  /** Forgets the requests so far. */
  forget(): void;
}

/** @param port 0 takes a free one. */
export async function startModel(port: number): Promise<Model> {
  const child = fork(join(import.meta.dirname, "model-server.ts"), [String(port)], { env: { PATH: process.env["PATH"] } });
  const [first] = (await once(child, "message")) as [FromModel];
  if (!("baseUrl" in first)) throw new Error("the model server did not say where it is");
  const arrived = new Map<string, number>();
  const ended = new Map<string, { readonly arrivedAt: number; readonly endedAt: number }>();
  const answered = new Map<string, number>();
  const waiting = new Set<() => void>();

  const note = ({ tags, arrivedAt, ended: end }: ModelRequest): void => {
    for (const tag of tags) {
      if (!arrived.has(tag)) arrived.set(tag, arrivedAt);
      if (end === undefined) continue;
      if (!ended.has(tag)) ended.set(tag, { arrivedAt, endedAt: end.at });
      if (end.isWhole) answered.set(tag, (answered.get(tag) ?? 0) + 1);
    }
  };
  child.on("message", (message: FromModel) => {
    if (!("requests" in message)) return;
    message.requests.forEach(note);
    for (const look of waiting) look();
  });
  const until = (isReached: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!isReached()) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  const findFirst = async <T>(known: ReadonlyMap<string, T>, tag: string): Promise<T> => {
    await until(() => known.has(tag));
    return known.get(tag) as T; // `until` has just seen it.
  };
  return {
    baseUrl: first.baseUrl,
    arrival: (tag) => findFirst(arrived, tag),
    end: (tag) => findFirst(ended, tag),
    answers: (tag) => answered.get(tag) ?? 0,
    until,
    release: (gate) => void child.send({ release: gate } satisfies ToModel),
    forget: () => [arrived, ended, answered].forEach((known) => known.clear()),
    [Symbol.dispose]: () => void child.kill(),
  };
}
