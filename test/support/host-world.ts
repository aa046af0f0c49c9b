/**
 * A host on which nothing runs but what a test starts: no process holds a port, no other plugin is installed.
 */
import type { HostSockets, PluginRunner } from "../../src/io/ports.ts";
import { Fault } from "../../src/model/fault.ts";

export const NOBODY_ELSE: { readonly sockets: HostSockets; readonly plugins: PluginRunner } = {
  sockets: { holders: () => [] },
  plugins: {
    run: async ({ type }) => {
      throw new Fault("delegate-failed", `the plugin ${type} is in none of the folders`);
    },
  },
};
