/**
 * Collects everything that is wrong with a configuration, so that an operator mends it in one round. Each problem has
 * its path (`dcos_overlay_network.overlays[1].prefix`), what is wrong, and what would be right.
 */
import { Fault } from "../../model/fault.ts";
import { CONFIG_PROBLEMS_SHOWN_MAX } from "../../model/limits.ts";

export class Problems {
  readonly #found: string[] = [];
  readonly #warnings: string[] = [];

  /** @param path empty for the file as a whole */
  add(path: string, wrong: string, right: string): void {
    this.#found.push(`${path === "" ? "" : `${path}: `}${wrong}; ${right}`);
  }

  /** Something that is accepted but surely not meant. */
  warn(path: string, what: string): void {
    this.#warnings.push(`${path}: ${what}`);
  }

  get count(): number {
    return this.#found.length;
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** @throws Fault see `fault` */
  throwIfAny(): void {
    if (this.#found.length > 0) throw this.fault();
  }

  /** Fault bad-config with all problems, in the message and as the list `facts.problems`. */
  fault(): Fault {
    const shown = this.#found.slice(0, CONFIG_PROBLEMS_SHOWN_MAX);
    const more = this.#found.length - shown.length;
    if (more > 0) shown.push(`and ${more} more`);
    const count = this.#found.length === 1 ? "a problem" : `${this.#found.length} problems`;
    return new Fault("bad-config", `the configuration has ${count}:${shown.map((line) => `\n  ${line}`).join("")}`, {
      problems: shown,
    });
  }
}

/** A value from outside as part of a message: JSON, cut where it gets long. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
