/**
 * A program that dies: a kernel and a store whose every step may be the last one. After death no call of the old
 * program reaches anything any more, so what it would have cleaned up stays, as after SIGKILL.
 */
import { Killed } from "../../src/io/kernel/fake-kernel.ts";
import type { AgentStore, ContainerKernel, Kernel, OpFailure } from "../../src/io/ports.ts";

export class Life {
  /** Steps taken so far. */
  steps = 0;
  /** Waited for before the kernel is asked anything. */
  readonly turn: () => Promise<void>;
  readonly #stepsMax: number;

  /** Dies in place of the step after `stepsMax` ones. */
  constructor(stepsMax = Number.POSITIVE_INFINITY, turn = async () => {}) {
    this.#stepsMax = stepsMax;
    this.turn = turn;
  }

  isOver(): boolean {
    return this.steps >= this.#stepsMax;
  }

  /** @throws Killed */
  step(what: string): void {
    if (this.isOver()) throw new Killed(`died before step ${this.steps}: ${what}`);
    this.steps++;
  }
}

/** `kernel`, and every namespace entered from it, for as long as `life` lasts. Each operation is a step. */
export function mortalKernel(kernel: Kernel, life: Life): Kernel {
  return {
    observe: async (paths) => {
      await life.turn();
      if (life.isOver()) throw new Killed("died before it could read");
      return kernel.observe(paths);
    },
    links: async () => {
      await life.turn();
      if (life.isOver()) throw new Killed("died before it could read");
      return kernel.links();
    },
    apply: async (ops) => {
      const failures: OpFailure[] = [];
      for (const [index, op] of ops.entries()) {
        await life.turn();
        life.step(op.op);
        failures.push(...(await kernel.apply([op])).map((failure) => ({ ...failure, index })));
      }
      return failures;
    },
    watch: (onChange) => kernel.watch(onChange),
    features: () => kernel.features(),
    traffic: () => kernel.traffic(),
    forgetPairs: (pairs) => kernel.forgetPairs(pairs),
    samples: () => kernel.samples(),
    enter: async (path) => {
      await life.turn();
      const inside = await kernel.enter(path);
      return { ...mortalKernel(inside, life), netnsId: inside.netnsId } satisfies ContainerKernel;
    },
    close: () => kernel.close(),
  };
}

/** `store`, as far as attachments go, for as long as `life` lasts. Each write is a step. */
export function mortalStore(store: AgentStore, life: Life): AgentStore {
  return {
    ...store,
    putLease: (lease, instead) => {
      life.step(`write ${lease.state}`);
      store.putLease(lease, instead);
    },
    deleteLease: (lease, resting) => {
      life.step("write: deleted");
      store.deleteLease(lease, resting);
    },
  };
}
