/**
 * Authorities and certificates of a test's own, made by openssl in a folder that goes with the test.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { assert } from "../../src/model/fault.ts";

/** Why no certificates can be made here, for the `skip` option of a test. */
export function certificatesProblem(): string | undefined {
  const { status, stdout } = spawnSync("openssl", ["version"], { encoding: "utf8" });
  return status === 0 && stdout.startsWith("OpenSSL 3") ? undefined : "OpenSSL 3 is not installed here";
}

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  /** A certificate for 127.0.0.1, signed by this authority. */
  issue(name: string): Certificate;
}

export function authority(t: TestContext, name: string): Authority {
  const folder = mkdtempSync(join(tmpdir(), "weft-ca-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const make = (which: string, ...more: string[]): Certificate => {
    const [certFile, keyFile] = [join(folder, `${which}.crt`), join(folder, `${which}.key`)];
    const { status, stderr } = spawnSync(
      "openssl",
      // biome-ignore format: one option and its value after the other
      ["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", `/CN=${which}`, "-keyout", keyFile, "-out", certFile, ...more],
      { encoding: "utf8" },
    );
    assert(status === 0, `openssl makes ${which}: ${stderr}`);
    return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  };
  const own = make(name, "-addext", "basicConstraints=critical,CA:TRUE");
  const leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"];
  return { ...own, issue: (which) => make(which, "-CA", own.certFile, "-CAkey", own.keyFile, ...leaf) };
}
