/**
 * Who puts a container's device into its sandbox. The first interface of a container is the engine's to take: it names it
 * `eth0`, as people expect. But to move a device from one namespace to another takes the kernel 18 ms, most of what a
 * `docker network connect` takes (docs/benchmarks.md); so where the container has an interface already, the agent makes the
 * next one where it belongs, and the engine is told of none.
 *
 * Such a device has a name that no engine gives: an engine counts its own, and fails where its next name is taken.
 */
import { OWN_PREFIX } from "../../../core/docker/engine.ts";
import type { ContainerKernel, Kernel } from "../../../io/ports.ts";
import type { Attachment } from "../../../model/attachment.ts";
import { Fault } from "../../../model/fault.ts";
import { INTERFACE_RANK_MAX } from "../../../model/limits.ts";

const ENGINE_NAME = /^eth\d+$/;

/**
 * @param attachment as if the engine took the device
 * @returns the namespace to make it in, which the caller closes, and the attachment as it is then; absent: the engine takes it
 */
export async function ownDevice(
  attachment: Attachment,
  kernel: Kernel,
): Promise<{ readonly inside: ContainerKernel; readonly attachment: Attachment } | undefined> {
  const inside = await sandboxOf(attachment, kernel);
  if (inside === undefined) return undefined;
  try {
    const names = new Set((await inside.links()).map(({ name }) => name));
    if (![...names].some((name) => ENGINE_NAME.test(name))) {
      inside.close();
      return undefined;
    }
    let number = 0;
    while (names.has(`${OWN_PREFIX}${number}`)) number++;
    const docker = { ...attachment.docker, ifname: `${OWN_PREFIX}${number}`, isOwn: true } as const;
    // Those of an engine's interfaces are counted from 1.
    const rank = INTERFACE_RANK_MAX - number;
    return { inside, attachment: { ...attachment, netnsId: inside.netnsId, docker, rank } };
  } catch (error) {
    inside.close();
    throw error;
  }
}

async function sandboxOf({ netns }: Attachment, kernel: Kernel): Promise<ContainerKernel | undefined> {
  try {
    return await kernel.enter(netns);
  } catch (error) {
    if (error instanceof Fault && error.code === "bad-netns") return undefined;
    throw error;
  }
}
