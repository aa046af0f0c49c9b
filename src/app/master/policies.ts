/**
 * The policies in force, in step with the store. Agents come for a change of them as for any other.
 */
import type { Policy, PolicyBook } from "../../model/policy.ts";
import { policyPortsText, selectorText } from "../../model/policy-text.ts";
import type { ControlRecords } from "./control-records.ts";

export class Policies implements PolicyBook {
  readonly #records: ControlRecords;
  readonly #requireTellable: (policies: readonly Policy[]) => void;
  readonly #byName: Map<string, Policy>;
  /** Told after each change. */
  onChange: () => void = () => {};

  /**
   * @param requireTellable throws when agents could not be told of all of these
   * @throws Fault corrupt-store
   */
  constructor(records: ControlRecords, requireTellable: (policies: readonly Policy[]) => void) {
    this.#records = records;
    this.#requireTellable = requireTellable;
    this.#byName = new Map(records.policies().map((policy) => [policy.name, policy]));
  }

  list(): readonly Policy[] {
    return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws Fault exhausted, storage */
  put(policy: Policy, who: string): void {
    const { name, network, from, to, ports } = policy;
    this.#requireTellable([...this.list().filter((each) => each.name !== name), policy]);
    const rule = `${selectorText(from)} to ${selectorText(to)}${network === undefined ? "" : ` in ${network}`}`;
    const what = `policy ${name} ${this.#byName.has(name) ? "changed" : "added"}: ${rule}, ports ${policyPortsText(ports)}`;
    this.#records.change({ who, what }, () => this.#records.putPolicy(policy));
    this.#byName.set(policy.name, policy);
    this.onChange();
  }

  remove(name: string, who: string): boolean {
    if (!this.#byName.has(name)) return false;
    this.#records.change({ who, what: `policy ${name} removed` }, () => this.#records.deletePolicy(name));
    this.#byName.delete(name);
    this.onChange();
    return true;
  }

  /**
   * The network is being removed, and with it the policies that are about it alone, as part of that change.
   * @returns what is to be called when it is written
   */
  dropNetwork(network: string): () => void {
    const gone = this.list().filter((policy) => policy.network === network);
    for (const { name } of gone) this.#records.deletePolicy(name);
    return () => {
      for (const { name } of gone) this.#byName.delete(name);
    };
  }
}
