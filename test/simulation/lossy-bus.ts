/** The bus as its contract allows it to be: hints are lost, told twice, told late and out of order. Events are told to whoever watches. */
import { Bus, type BusMessages } from "../../packages/gateway/src/bus.ts";
import type { Life } from "./life.ts";
import type { Random } from "./random.ts";

const hints: ReadonlySet<keyof BusMessages> = new Set(["work", "run-ended"]);

export interface BusWatcher {
  /** Everything published, before anything is lost. */
  heard<T extends keyof BusMessages>(topic: T, message: BusMessages[T], life: Life): void;
}

export class LossyBus extends Bus {
  readonly #random: Random;
  readonly #life: Life;
  readonly #watcher: BusWatcher;
  /** The part of all hints that is lost in this process. */
  readonly #loss: number;

  constructor(random: Random, life: Life, watcher: BusWatcher) {
    super();
    this.#random = random;
    this.#life = life;
    this.#watcher = watcher;
    this.#loss = random.pick([0, 0.2, 0.95]);
  }

  override publish<T extends keyof BusMessages>(topic: T, message: BusMessages[T]): void {
    this.#watcher.heard(topic, message, this.#life);
    const { clock } = this.#life;
    if (!hints.has(topic)) return super.publish(topic, message);
    if (this.#life.isDeaf() || this.#random.chance(this.#loss)) return;
    const fate = this.#random.int(8);
    if (fate < 2) clock.schedule(clock.now() + this.#random.int(2_000), () => super.publish(topic, message));
    if (fate !== 0) super.publish(topic, message);
    if (fate === 2) super.publish(topic, message);
  }
}
