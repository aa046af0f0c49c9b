/**
 * `weft cni install`: puts the CNI executable where container runtimes look for it.
 */
import type { Command } from "commander";
import { type Installed, installPlugin } from "../cni-shim/install.ts";

const DEFAULT_BIN_DIR = "/opt/cni/bin";

export function addCniCommand(program: Command): void {
  program
    .command("cni")
    .description("work with the CNI plugin that container runtimes start")
    .command("install")
    .description("put the CNI plugins weft-cni and weft-ipam where container runtimes look for them")
    .option("--bin-dir <folder>", "the runtime's folder of CNI plugins", DEFAULT_BIN_DIR)
    .option("--script", "install the script, also where the static program can be built")
    .addHelpText(
      "after",
      `
A static program is built when a C compiler is there (Debian: musl-tools, or
gcc); else a script is installed that runs with this Node. Both do the same; the
program starts a hundred times faster. The networks themselves are written by
the agent: weft agent --cni-conf-dir /etc/cni/net.d

weft-ipam is the same program: as the ipam type of another plugin (bridge,
macvlan, ptp) it gives that plugin's containers addresses of a Weft network.`,
    )
    .action(async ({ binDir, script }: { binDir: string; script?: true }) => {
      console.log(installedText(await installPlugin(binDir, { script: script === true })));
    });
}

/** Also for netavark's plugin. */
export function installedText({ paths, kind, reason }: Installed): string {
  const what =
    kind === "program"
      ? "the static program is installed"
      : `the script is installed, run by ${process.execPath} (${reason})`;
  return `${paths.join(", ")}: ${what}`;
}
