/**
 * Addresses that another IPAM plugin gives (`ipam.type` in the network configuration). It is asked and told as the CNI
 * specification has it; Weft keeps only what it must say to give them back.
 */
import type { ContainerCall } from "../../core/cni/call.ts";
import { type DelegateSubject, delegateEnvironment, delegateFault } from "../../core/cni/delegate.ts";
import { type IpamResult, readIpamResult } from "../../core/cni/result.ts";
import type { PluginRunner } from "../../io/ports.ts";
import type { ForeignIpam } from "../../model/attachment.ts";
import { assert } from "../../model/fault.ts";

/** What will have to be said to the plugin that the call names. */
export function foreignIpamOf({ config, cniPath, args }: ContainerCall): ForeignIpam {
  assert(config.ipam !== undefined, "the configuration names another IPAM plugin");
  return { type: config.ipam.type, cniPath, args, config: JSON.stringify(config.json) };
}

/** @throws Fault delegate-failed, not-ready */
export async function requestAddresses(
  plugins: PluginRunner,
  ipam: ForeignIpam,
  subject: DelegateSubject,
): Promise<IpamResult> {
  return readIpamResult(await ask(plugins, "ADD", ipam, subject), ipam.type);
}

/** What is not held any more is no error to an IPAM plugin. @throws Fault delegate-failed, not-ready */
export async function returnAddresses(
  plugins: PluginRunner,
  ipam: ForeignIpam,
  subject: DelegateSubject,
): Promise<void> {
  await ask(plugins, "DEL", ipam, subject);
}

/** Whether they are still held. @throws Fault delegate-failed, not-ready */
export async function checkAddresses(
  plugins: PluginRunner,
  ipam: ForeignIpam,
  subject: DelegateSubject,
): Promise<void> {
  await ask(plugins, "CHECK", ipam, subject);
}

async function ask(
  plugins: PluginRunner,
  command: "ADD" | "DEL" | "CHECK",
  ipam: ForeignIpam,
  subject: DelegateSubject,
): Promise<string> {
  const { type, cniPath, config } = ipam;
  const environment = delegateEnvironment(command, subject, ipam);
  const { ok, stdout } = await plugins.run({ type, cniPath, environment, stdin: config });
  if (!ok) throw delegateFault(type, stdout);
  return stdout;
}
