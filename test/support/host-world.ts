/**
 * A host on which nothing runs but what a test starts: no process holds a port, no other plugin is installed.
 */
import { SimEngine } from "../../src/io/docker/sim-engine.ts";
import type { DockerEngine, HostSockets, PluginRunner } from "../../src/io/ports.ts";
import { Fault } from "../../src/model/fault.ts";

export const NOBODY_ELSE: {
  readonly sockets: HostSockets;
  readonly plugins: PluginRunner;
  readonly engine: DockerEngine;
} = {
  engine: new SimEngine(),
  sockets: { holders: () => [] },
  plugins: {
    run: async ({ type }) => {
      throw new Fault("delegate-failed", `the plugin ${type} is in none of the folders`);
    },
  },
};
