/**
 * Meeting: many checks that all must be under way before one fault happens to all of them. Pure but for promises.
 */
export class Meeting {
  readonly #awaited: Set<string>;
  readonly #everybody: Promise<void>;
  readonly #fault: Promise<void>;
  #allHere: () => void = () => undefined;
  #happened: () => void = () => undefined;

  constructor(names: Iterable<string>) {
    this.#awaited = new Set(names);
    this.#everybody = new Promise((resolve) => {
      this.#allHere = resolve;
    });
    this.#fault = new Promise((resolve) => {
      this.#happened = resolve;
    });
    if (this.#awaited.size === 0) this.#allHere();
  }

  /** `name` is under way, or over before the fault. Answers when the fault has happened. */
  arrive(name: string): Promise<void> {
    this.#awaited.delete(name);
    if (this.#awaited.size === 0) this.#allHere();
    return this.#fault;
  }

  /** Answers when everybody arrived. */
  everybody(): Promise<void> {
    return this.#everybody;
  }

  /** The fault has happened. */
  release(): void {
    this.#happened();
  }
}
