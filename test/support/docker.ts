/**
 * Docker with containers that answer, as those of test/support/podman.ts do: each serves HTTP on port 80 and tells who
 * asked. The image is imported from a tar file; no registry is asked for anything.
 */
import { join } from "node:path";
import {
  Docker,
  type DockerFolders,
  type DockerOptions,
  dockerFolders,
  dockerProblem,
} from "../../src/app/demo/docker.ts";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { LabHost } from "../../src/app/demo/lab.ts";
import { Machine } from "../../src/app/demo/machine.ts";
import type { RuntimeHost } from "../../src/app/demo/runtime.ts";
import { ContainerHost, IMAGE, imageProblem } from "./podman.ts";

/** Why containers of this kind cannot run here, for the `skip` option of a test. */
export function dockerSkip(): string | undefined {
  return dockerProblem() ?? imageProblem();
}

/** What an engine needs of a host; an Agent of the lab is one. */
export type EngineHost = RuntimeHost & DockerFolders & { readonly netns: LabHost };

/** A host of the lab where no agent is. */
export function engineHost(netns: LabHost): EngineHost {
  const folder = join(LAB_DIR, netns.name);
  return { netns, confDir: join(folder, "cni/net.d"), binDir: join(folder, "cni/bin"), ...dockerFolders(folder) };
}

/** An engine on a machine of its own, with the image in its store. @param tar of `imageTar` */
export async function startDocker(host: EngineHost, tar: string, options: DockerOptions = {}): Promise<DockerHost> {
  const docker = await Docker.on(await Machine.start(host), host, options);
  await docker.start();
  await docker.mustRun(["import", tar, IMAGE]);
  return new DockerHost(docker);
}

export class DockerHost extends ContainerHost {
  readonly docker: Docker;

  constructor(docker: Docker) {
    super(docker);
    this.docker = docker;
  }
}
