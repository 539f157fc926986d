/** JSON-RPC over the pipes of a process, one message a line: how ACP and MCP are spoken. */
import { isRecord } from "@portreeve/protocol";
import type { RunningProcess } from "./process.ts";

export interface Notification {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

export interface StdioPeer {
  /** Rejects with the error's message and what the process said. */
  request(method: string, params: object): Promise<Readonly<Record<string, unknown>>>;
  notify(method: string, params: object): void;
  readonly notifications: readonly Notification[];
  /** Resolves with the first notification, past or future, that fits. */
  notification(fits: (notification: Notification) => boolean): Promise<Notification>;
}

/** `answer`: what the process asks us; undefined is a refusal. */
export function openStdioPeer(
  running: RunningProcess,
  answer: (method: string, params: unknown) => object | undefined = () => undefined,
): StdioPeer {
  const pending = new Map<number, { resolve(result: Readonly<Record<string, unknown>>): void; reject(error: Error): void }>();
  const notifications: Notification[] = [];
  const waiting = new Set<() => void>();
  let nextId = 0;
  const send = (message: object): void => running.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);

  running.onLine((line) => {
    const message = parseMessage(line);
    if (message === undefined) return;
    const { id, method, params, result, error } = message;
    if (typeof method === "string" && id === undefined) {
      notifications.push({ method, params: isRecord(params) ? params : {} });
      waiting.forEach((look) => look());
    } else if (typeof method === "string") {
      const given = answer(method, params);
      send(given === undefined ? { id, error: { code: -32601, message: "not here" } } : { id, result: given });
    } else if (typeof id === "number") {
      const asked = pending.get(id);
      pending.delete(id);
      if (isRecord(error))
        asked?.reject(new Error(`${String(error["message"])}: ${JSON.stringify(error["data"] ?? null)}\n${running.said}`));
      else asked?.resolve(isRecord(result) ? result : {});
    }
  });
  void running.ended.then(
    ({ code }) => pending.forEach(({ reject }) => reject(new Error(`it ended with ${code}:\n${running.said}`))),
    (error: unknown) => pending.forEach(({ reject }) => reject(error instanceof Error ? error : new Error(String(error)))),
  );
  return {
    request: (method, params) =>
      new Promise((resolve, reject) => {
        nextId += 1;
        pending.set(nextId, { resolve, reject });
        send({ id: nextId, method, params });
      }),
    notify: (method, params) => send({ method, params }),
    notifications,
    notification: (fits) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = notifications.find(fits);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
  };
}

function parseMessage(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    // A note for people among the messages.
    return undefined;
  }
}
