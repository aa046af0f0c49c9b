/**
 * An agent that runs on a machine of its own (src/app/demo/machine.ts), beside the runtime and the plugins: it sees their
 * processes by the numbers that they have, and what a plugin keeps in /var/lib is on that machine.
 */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { LabHost } from "../../src/app/demo/lab.ts";
import { Machine, machineProblem } from "../../src/app/demo/machine.ts";
import type { RuntimeHost } from "../../src/app/demo/runtime.ts";
import { Agent, knowEachOther } from "../../src/app/demo/weft-process.ts";
import { type Cluster, hostOf } from "./lab-cluster.ts";

/** Where Debian has them. */
export const REFERENCE_BIN = "/usr/lib/cni";

/** Why Debian's plugins cannot be tried here, for the `skip` option of a test. */
export function referenceProblem(): string | undefined {
  const isThere = existsSync(join(REFERENCE_BIN, "bridge"));
  return isThere ? machineProblem() : "containernetworking-plugins is not installed here";
}

export interface MachineAgent {
  readonly agent: Agent;
  readonly machine: Machine;
}

/** Adds the agent of a host that has none yet. */
export async function agentOnMachine({ lab, master, agents }: Cluster, number: number): Promise<MachineAgent> {
  const host = hostOf(lab, number);
  const { joinTokenFile } = master;
  const options = { folder: join(LAB_DIR, host.name), masters: [master.url], joinTokenFile };
  const machine = await Machine.start(new Agent({ ...options, host }));
  const onMachine = Object.assign(Object.create(host) as LabHost, { spawn: machine.spawn.bind(machine) });
  const agent = new Agent({ ...options, host: onMachine });
  await agent.start();
  await agent.ready();
  await knowEachOther([...agents, agent]);
  return { agent, machine };
}

/** Network configurations of a test's own on a machine, with Weft's plugins and Debian's in one folder. */
export class OwnNetworks implements RuntimeHost {
  readonly netns: Machine;
  readonly confDir = join(LAB_DIR, "own-networks");
  readonly binDir = join(LAB_DIR, "plugins");
  readonly #socket: string;

  constructor({ agent, machine }: MachineAgent) {
    this.netns = machine;
    this.#socket = agent.socket;
    for (const folder of [this.confDir, this.binDir]) mkdirSync(folder, { recursive: true });
    for (const folder of [REFERENCE_BIN, agent.binDir])
      for (const name of readdirSync(folder)) symlinkSync(join(folder, name), join(this.binDir, name));
  }

  /** @param plugins in their order; Weft's find the agent by the key that each of them gets */
  define(name: string, ...plugins: readonly object[]): void {
    const list = plugins.map((plugin) => ({ ...plugin, weft_socket: this.#socket }));
    const conflist = { cniVersion: "1.0.0", name, plugins: list };
    writeFileSync(join(this.confDir, `${name}.conflist`), JSON.stringify(conflist));
  }
}
