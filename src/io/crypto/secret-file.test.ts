import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { formatToken } from "../../model/trust/token.ts";
import { readTokenFile } from "../token-file.ts";
import { newSecret, newSignerPem, verifySignature } from "./keys.ts";
import { createSecretFile, readSecretFile, signerInFile } from "./secret-file.ts";

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "weft-secret-"));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

const modeOf = (path: string) => statSync(path).mode & 0o777;

test("a secret's file and folder are their owner's from the start, whatever the umask, and never written over", (t) => {
  const path = join(folder(t), "data", "secret");
  const before = process.umask(0);
  t.after(() => process.umask(before));
  createSecretFile(path, "one");
  assert.deepEqual([modeOf(path), modeOf(join(path, "..")), readSecretFile(path)], [0o600, 0o700, "one"]);
  assert.throws(() => createSecretFile(path, "two"), { code: "storage" });
  assert.deepEqual([readSecretFile(path), readSecretFile(`${path}-absent`)], ["one", undefined]);
});

test("a draft that a dead process left behind is in nobody's way", (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, ".secret.new"), "half");
  createSecretFile(join(dir, "secret"), "whole");
  assert.deepEqual([readdirSync(dir), readSecretFile(join(dir, "secret"))], [["secret"], "whole"]);
});

test("a secret that others may read or write is refused, with what to do", (t) => {
  const path = join(folder(t), "secret");
  createSecretFile(path, "x");
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    chmodSync(path, mode);
    assert.throws(() => readSecretFile(path), {
      code: "no-rights",
      message: new RegExp(`mode 0${mode.toString(8)}: .*chmod 600`),
    });
  }
  for (const mode of [0o600, 0o400]) {
    chmodSync(path, mode);
    assert.equal(readSecretFile(path), "x");
  }
  mkdirSync(`${path}.d`);
  assert.throws(() => readSecretFile(`${path}.d`), { code: "bad-request", message: /is no file/ });
});

test("a key is made once and kept; what is none is refused and left as it is", (t) => {
  const path = join(folder(t), "identity.key");
  const first = signerInFile(path);
  const again = signerInFile(path);
  assert.deepEqual(again.publicKey, first.publicKey);
  const bytes = newSecret();
  assert.ok(verifySignature(first.publicKey, bytes, again.sign(bytes)));
  assert.ok(!verifySignature(first.publicKey, newSecret(), again.sign(bytes)));
  const wrong = join(folder(t), "identity.key");
  createSecretFile(wrong, newSignerPem().slice(0, 60));
  assert.throws(() => signerInFile(wrong), { code: "corrupt-store", message: /no Ed25519 private key/ });
  assert.ok(existsSync(wrong));
});

test("a token's file: missing, malformed, of the other kind, open to others, or the token itself in its place", (t) => {
  const dir = folder(t);
  const token = { kind: "join", id: "abcdefgh", secret: newSecret() } as const;
  const file = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(dir, name), text, { mode });
    return join(dir, name);
  };
  const read = (path: string) => readTokenFile(path, "join", "--join-token-file");
  assert.deepEqual(read(file("good", `${formatToken(token)}\n`)), token);
  const operator = formatToken({ ...token, kind: "operator" });
  const rows: [string, string, RegExp][] = [
    [join(dir, "absent"), "bad-request", /there is no file .*absent/],
    [file("bad", "secret words"), "bad-request", /bad holds no token; it must hold one line weft-join-/],
    [file("other", operator), "bad-request", /holds a token for operators/],
    [file("open", formatToken(token), 0o644), "no-rights", /mode 0644/],
    [formatToken(token), "bad-request", /wants the name of a file, and got a token: arguments are seen by every user/],
  ];
  for (const [path, code, message] of rows) {
    assert.throws(() => read(path), { code, message });
    assert.throws(
      () => read(path),
      (thrown: Error) => !thrown.message.includes(formatToken(token).slice(-43)),
    );
  }
});
