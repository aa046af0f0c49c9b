/**
 * Addresses that another IPAM plugin gives (`ipam.type` in the network configuration). It is asked and told as the CNI
 * specification has it; Weft keeps only what it must say to give them back.
 */
import type { CniCall, ContainerCall } from "../../core/cni/call.ts";
import { type DelegateSubject, delegateEnvironment, delegateFault, isTooOld } from "../../core/cni/delegate.ts";
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

/** STATUS and GC are for the plugin, too; one that is older than they are has nothing to say. @throws as `checkAddresses` */
export async function passOn(
  plugins: PluginRunner,
  { command, config: { ipam, json }, cniPath }: Extract<CniCall, { command: "STATUS" | "GC" }>,
): Promise<void> {
  if (ipam === undefined) return;
  const environment = delegateEnvironment(command, undefined, { cniPath, args: "" });
  const { ok, stdout } = await plugins.run({ ...ipam, cniPath, environment, stdin: JSON.stringify(json) });
  if (!ok && !isTooOld(stdout)) throw delegateFault(ipam.type, stdout);
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
