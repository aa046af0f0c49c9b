/**
 * `weft netavark install`: puts netavark's plugin where Podman 5 looks for it, and says what Podman has to be told.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import { installNetavarkPlugin } from "../cni-shim/install.ts";
import { installedText } from "./cni-command.ts";

/** Podman looks there by itself; further ones of its own are for packages. */
const DEFAULT_PLUGIN_DIR = "/usr/local/libexec/netavark";

export function addNetavarkCommand(program: Command): void {
  program
    .command("netavark")
    .description("work with the plugin that Podman 5 starts (it speaks CNI no more)")
    .command("install")
    .description("put the plugin weft where netavark looks for it")
    .option("--plugin-dir <folder>", "netavark's folder of plugins", DEFAULT_PLUGIN_DIR)
    .option("--script", "install the script, also where the static program can be built")
    .addHelpText(
      "after",
      `
Podman has to be told of another folder than its own, in containers.conf:
  [network]
  netavark_plugin_dirs = ["FOLDER"]
Then, once on every host, for each network of the cluster:
  podman network create -d weft NAME
Where the agent's socket is another than /run/weft/agent.sock, add
  -o weft.socket=PATH
and where Podman shall call the network otherwise, -o weft.network=NAME.`,
    )
    .action(async ({ pluginDir, script }: { pluginDir: string; script?: true }) => {
      console.log(installedText(await installNetavarkPlugin(pluginDir, { script: script === true })));
      const folder = resolve(pluginDir);
      if (folder !== DEFAULT_PLUGIN_DIR)
        console.log(`containers.conf has to say, under [network]: netavark_plugin_dirs = [${JSON.stringify(folder)}]`);
    });
}
