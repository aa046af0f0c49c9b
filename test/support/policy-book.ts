/** Policies in memory. */
import type { Policy, PolicyBook } from "../../src/model/policy.ts";

export class MemoryPolicyBook implements PolicyBook {
  readonly #policies = new Map<string, Policy>();

  list(): readonly Policy[] {
    return [...this.#policies.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  put(policy: Policy): void {
    this.#policies.set(policy.name, policy);
  }

  remove(name: string): boolean {
    return this.#policies.delete(name);
  }
}
