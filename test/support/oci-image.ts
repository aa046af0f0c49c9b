/**
 * An image as containerd imports it (OCI image layout 1.0): one layer, made of a tar file, in another tar file. So no
 * registry is asked for anything.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mustRun } from "../../src/app/demo/netns.ts";

const TYPE = "application/vnd.oci.image";
const ARCHITECTURE = { x64: "amd64", arm64: "arm64" }[process.arch as string] ?? process.arch;

interface Blob {
  readonly digest: string;
  readonly size: number;
}

/**
 * @param layer path of the tar file
 * @param folder for the layout; made here
 * @returns path of the image's tar file
 */
export async function ociImage(layer: string, name: string, folder: string): Promise<string> {
  const blobs = join(folder, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (content: Uint8Array | string): Blob => {
    const bytes = Buffer.from(content);
    const hash = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(blobs, hash), bytes);
    return { digest: `sha256:${hash}`, size: bytes.length };
  };
  const rootfs = put(readFileSync(layer));
  const config = put(
    JSON.stringify({
      architecture: ARCHITECTURE,
      os: "linux",
      config: { Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [rootfs.digest] },
    }),
  );
  const manifest = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${TYPE}.manifest.v1+json`,
      config: { mediaType: `${TYPE}.config.v1+json`, ...config },
      layers: [{ mediaType: `${TYPE}.layer.v1.tar`, ...rootfs }],
    }),
  );
  const annotations = { "io.containerd.image.name": name };
  const manifests = [{ mediaType: `${TYPE}.manifest.v1+json`, ...manifest, annotations }];
  writeFileSync(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await mustRun("tar", ["-C", folder, "-cf", `${folder}.tar`, "."]);
  return `${folder}.tar`;
}
