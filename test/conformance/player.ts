/** Plays a transcript against a gateway, whichever it is: all it knows of it is an address and the shared secret. */
import { randomUUID } from "node:crypto";
import { connectParams, createWireKey, type Frame, openWire, type Wire, type WireKey } from "../support/wire-client.ts";
import { dig, fill, mismatches } from "./matching.ts";
import type { Opening, Protocol, Step, Transcript } from "./transcript.ts";

export interface Target {
  readonly url: string;
  readonly token: string;
  readonly protocol: Protocol;
}

/** One result or event that came, in the order of the play. */
export interface Heard {
  readonly kind: "result" | "event";
  readonly name: string;
  readonly payload: unknown;
}

/** How long one step may wait for its frame: a gateway that never sends it must not hang whoever asks. */
const patienceMs = 30_000;

/** Answers all that was heard. @throws Error that names the step that went otherwise, and how. */
export async function play(transcript: Transcript, target: Target): Promise<readonly Heard[]> {
  await using stage = new Stage(target);
  for (const [name, opening] of Object.entries(transcript.connections)) await stage.open({ open: name, with: opening });
  for (const [index, step] of transcript.steps.entries()) {
    if (step.only !== undefined && step.only !== target.protocol) continue;
    try {
      await stage.play(step);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${transcript.name}, protocol ${target.protocol}, step ${index + 1} ${summary(step)}: ${reason}`, { cause: error });
    }
  }
  return stage.heard();
}

class Stage implements AsyncDisposable {
  readonly #target: Target;
  readonly #wires = new Map<string, Wire>();
  readonly #all: Wire[] = [];
  readonly #keys = new Map<string, WireKey>();
  readonly #saved = new Map<string, unknown>([["unique", randomUUID().slice(0, 8)]]);
  readonly #results: Heard[] = [];
  readonly #later = new Map<string, { readonly name: string; readonly request: Promise<Frame> }>();

  constructor(target: Target) {
    this.#target = target;
  }

  async play(step: Step): Promise<void> {
    if ("send" in step) return this.#send(step);
    if ("answer" in step) return this.#takeUp(step);
    if ("event" in step) return this.#hear(step);
    if ("open" in step) return this.open(step);
    const wire = this.#wire(step.close);
    await wire[Symbol.asyncDispose]();
  }

  async open(step: Extract<Step, { open: string }>): Promise<void> {
    const wire = await openWire(this.#target.url);
    this.#all.push(wire);
    const answer = await patiently(wire.request("connect", this.#connectParams(wire, step)));
    this.#judge("connect", step, answer);
    if (answer.ok === true) this.#wires.set(step.open, wire);
  }

  heard(): readonly Heard[] {
    const events = this.#all.flatMap(({ frames }) => frames.filter(({ type }) => type === "event"));
    return [...this.#results, ...events.map(({ event = "", payload }): Heard => ({ kind: "event", name: event, payload }))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((wire) => wire[Symbol.asyncDispose]()));
  }

  #connectParams(wire: Wire, { open, with: opening }: { readonly open: string; readonly with: Opening }): object {
    const { key: keyName = open, auth = "token", setupCode, ...rest } = opening;
    const key = this.#keys.get(keyName) ?? createWireKey();
    this.#keys.set(keyName, key);
    this.#saved.set(`${keyName}Id`, key.id);
    return connectParams(wire, { protocol: this.#target.protocol, key, ...rest, ...this.#credential(auth, setupCode) });
  }

  #credential(auth: string, setupCode: string | undefined): object {
    const saved = (name: string): string => String(fill(`\${${name}}`, this.#saved));
    if (setupCode !== undefined) {
      const { bootstrapToken } = JSON.parse(Buffer.from(saved(setupCode), "base64url").toString()) as { readonly bootstrapToken: string };
      return { bootstrapToken };
    }
    if (auth === "none") return {};
    return auth === "token" ? { token: this.#target.token } : { deviceToken: saved(auth) };
  }

  async #send(step: Extract<Step, { send: string }>): Promise<void> {
    const wire = this.#wire(step.on);
    const request = wire.request(step.send, fill(step.params ?? {}, this.#saved));
    if (step.later !== undefined && step.accepted === undefined) return this.#postpone(step.later, step.send, request);
    const first = await patiently(request);
    if (step.accepted === undefined) return this.#judge(step.send, step, first);
    this.#judge(`${step.send} accepted`, { payload: step.accepted }, first);
    const isFinal = (frame: Frame): boolean => frame.type === "res" && frame.id === first.id && frame !== first;
    const final = wire.frame(isFinal);
    if (step.later !== undefined) return this.#postpone(step.later, step.send, final);
    this.#judge(step.send, step, await patiently(final));
  }

  #postpone(answer: string, name: string, request: Promise<Frame>): void {
    request.catch(() => undefined);
    this.#later.set(answer, { name, request });
  }

  async #takeUp(step: Extract<Step, { answer: string }>): Promise<void> {
    const asked = this.#later.get(step.answer);
    if (asked === undefined) throw new Error(`nothing was sent to be answered as ${step.answer}`);
    this.#judge(asked.name, step, await patiently(asked.request));
  }

  async #hear(step: Extract<Step, { event: string }>): Promise<void> {
    const wire = this.#wire(step.on);
    const pattern = fill(step.payload, this.#saved);
    const fits = ({ event, payload }: Frame): boolean => event === step.event && mismatches(pattern, payload).length === 0;
    const { payload } = await patiently(wire.frame(fits)).catch((error: unknown) => {
      const came = wire.frames.filter(({ event }) => event === step.event).map((frame) => frame.payload);
      throw new Error(`no ${step.event} like ${JSON.stringify(pattern)}; came: ${JSON.stringify(came).slice(0, 2_000)}`, { cause: error });
    });
    this.#save(step, payload);
  }

  #judge(name: string, step: Pick<Step, "save"> & { readonly payload?: unknown; readonly error?: unknown }, answer: Frame): void {
    const isRefusal = step.error !== undefined;
    if (answer.ok !== !isRefusal) throw new Error(`expected ${isRefusal ? "a refusal" : "success"}, got ${JSON.stringify(answer)}`);
    const problems = isRefusal
      ? mismatches(fill(step.error, this.#saved), answer.error, "error")
      : mismatches(fill(step.payload ?? {}, this.#saved), answer.payload);
    if (problems.length > 0) throw new Error(problems.join("; "));
    if (!isRefusal) this.#results.push({ kind: "result", name, payload: answer.payload });
    this.#save(step, isRefusal ? answer.error : answer.payload);
  }

  #save({ save = {} }: Pick<Step, "save">, payload: unknown): void {
    for (const [name, path] of Object.entries(save)) {
      const value = dig(payload, path);
      if (value === undefined) throw new Error(`there is nothing at ${path} to save as ${name}: ${JSON.stringify(payload)}`);
      this.#saved.set(name, value);
    }
  }

  #wire(name = "main"): Wire {
    const wire = this.#wires.get(name);
    if (wire === undefined) throw new Error(`no connection is called ${name}`);
    return wire;
  }
}

function patiently<T>(answer: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`nothing came within ${patienceMs / 1_000} s`)), patienceMs);
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

function summary(step: Step): string {
  const what =
    "send" in step
      ? step.send
      : "answer" in step
        ? `answer ${step.answer}`
        : "event" in step
          ? `event ${step.event}`
          : "open" in step
            ? `open ${step.open}`
            : `close ${step.close}`;
  return step.about === undefined ? what : `${what} (${step.about})`;
}
