/**
 * The ways in which benchmarks attach containers: weft-cni with a running agent, and the reference plugin `bridge` with
 * `host-local`, set up to give a container what Weft gives it.
 */
import { join } from "node:path";
import { assert } from "../src/model/fault.ts";
import type { AgentHost, BenchNetns } from "./agent-host.ts";
import { openNamespace } from "./agent-host.ts";
import { type PluginCall, PluginCaller, type PluginOutcome } from "./plugin-caller.ts";

const REFERENCE_FOLDER = "/usr/lib/cni";

/** One way to attach containers. */
export interface Side {
  readonly host: BenchNetns;
  call(command: "ADD" | "DEL", containerId: string, container: BenchNetns): PluginCall;
}

function environmentOf(command: string, containerId: string, { path }: BenchNetns): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: path,
    CNI_IFNAME: "eth0",
    CNI_PATH: REFERENCE_FOLDER,
  };
}

export function weftSide(agent: AgentHost): Side {
  const config = {
    cniVersion: "1.0.0",
    name: "dcos",
    type: "weft-cni",
    network: "dcos",
    weft_socket: agent.socket,
  };
  return {
    host: agent.namespace,
    call: (...args) => ({ program: agent.plugin, environment: environmentOf(...args), config }),
  };
}

export function referenceSide(dir: string, ipMasq: boolean): Side {
  const config = {
    cniVersion: "1.0.0",
    name: "reference",
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    ipMasq,
    ipam: {
      type: "host-local",
      dataDir: join(dir, `host-local-${ipMasq}`),
      ranges: [[{ subnet: "10.88.0.0/16" }]],
      routes: [{ dst: "0.0.0.0/0" }],
    },
  };
  return {
    host: openNamespace(),
    call: (...args) => ({ program: join(REFERENCE_FOLDER, "bridge"), environment: environmentOf(...args), config }),
  };
}

/** How long it took. */
export function succeeded({ status, output, ms }: PluginOutcome): number {
  assert(status === 0, `the plugin succeeds: ${output}`);
  return ms;
}

let lastContainer = 0;

export function newId(): string {
  lastContainer += 1;
  return `container-${lastContainer}`;
}

/** Attaches and detaches again and again; the milliseconds of each. */
export class Cycle {
  readonly adds: number[] = [];
  readonly dels: number[] = [];
  readonly #side: Side;
  readonly #caller: PluginCaller;
  readonly #container = openNamespace();

  constructor(side: Side) {
    this.#side = side;
    this.#caller = new PluginCaller(side.host.netns);
  }

  async run(): Promise<number> {
    const id = newId();
    const add = succeeded(await this.#caller.call(this.#side.call("ADD", id, this.#container)));
    this.adds.push(add);
    this.dels.push(succeeded(await this.#caller.call(this.#side.call("DEL", id, this.#container))));
    return add;
  }

  close(): void {
    this.#caller.close();
  }
}
