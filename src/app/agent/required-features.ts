/**
 * What no host can do without: a kernel that lacks one of these carries no container, and the agent says so at its start.
 */
import type { KernelFeatures } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";

/** @throws Fault kernel-lacks, naming all of them and the modules that have them */
export function requireFeatures({ missing }: KernelFeatures): void {
  if (missing.length === 0) return;
  throw new Fault(
    "kernel-lacks",
    `this kernel lacks ${missing.join(", ")}; load the modules (modprobe -a vxlan bridge veth nf_tables nft_masq nft_nat ` +
      "nft_ct nft_fib_ipv4 nft_fib_ipv6) or boot a kernel that has them",
    { missing },
  );
}

/** Before the kernel was asked. */
export const NO_FEATURES: KernelFeatures = {
  missing: [],
  ingressForward: false,
  bandwidth: false,
  datapath: { missing: "the kernel was not asked yet" },
};
