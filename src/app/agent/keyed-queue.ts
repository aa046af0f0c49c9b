/**
 * Work that must not overlap for one key, and may for different ones. A queue of one key is gone when it is empty.
 */

export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` after everything that was given for `key` before, whatever became of that. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    // Whoever waited for the last of a key finds the key idle: a pass goes on with the same container's next lease.
    const result = before.then(work).finally(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    const tail = result.then(
      () => {},
      () => {},
    );
    this.#tails.set(key, tail);
    return result;
  }

  /** Whether anything runs or waits for `key`. */
  isBusy(key: string): boolean {
    return this.#tails.has(key);
  }
}
