import assert from "node:assert/strict";
import { test } from "node:test";
import { blankLiterals } from "./source-text.ts";
import { formatRefusal, tidyFile } from "./tidy.ts";

const HEADER = "/**\n * What this file decides.\n */\n";

/** What tidy says of a file with a proper header and this code. */
function said(path: string, code: string): string[] {
  return tidyFile(path, HEADER + code).map(formatRefusal);
}

test("imports point down, and one that points up is refused with its line and the rule", () => {
  for (const [path, specifier] of [
    ["src/app/agent/loop.ts", "../../io/ports.ts"],
    ["src/io/ports.ts", "../core/host/host-state.ts"],
    ["src/core/ipam/carve.ts", "../../model/ip.ts"],
    ["src/core/overlay/desired.ts", "../host/host-state.ts"],
    ["src/core/overlay/desired.ts", "./attach.ts"],
  ] as const)
    assert.deepEqual(said(path, `import { x } from "${specifier}";\n`), [], path);
  assert.deepEqual(said("src/core/ipam/carve.ts", '\nimport type { Store } from "../../io/ports.ts";\n'), [
    "src/core/ipam/carve.ts:5: core imports io; imports point down only: app → io → core → model",
  ]);
  assert.match(said("src/model/ip.ts", 'import { x } from "../core/host/diff.ts";\n')[0] ?? "", /model imports core/);
  assert.match(said("src/io/log.ts", 'const m = await import("../app/cli/main.ts");\n')[0] ?? "", /io imports app/);
  assert.deepEqual(said("src/io/log.ts", 'join(import.meta.dirname, "../../x.yaml");\n'), []);
  assert.match(said("src/io/log.ts", 'export { x } from "../../test/x.ts";\n')[0] ?? "", /outside src/);
});

test("cores never meet", () => {
  assert.deepEqual(said("src/core/overlay/desired.ts", 'import {\n  half,\n} from "../ipam/carve.ts";\n'), [
    "src/core/overlay/desired.ts:4: core/overlay imports core/ipam; cores never meet, app composes them",
  ]);
});

test("core and model that wait, look at a clock, roll dice or touch the process are refused", () => {
  for (const code of [
    "export async function x() {}",
    "const t = Date.now();",
    "const r = Math.random();",
    "const p = process.env.HOME;",
    "setTimeout(run, 1);",
    'console.log("x");',
    'import { readFileSync } from "node:fs";',
    'import pino from "pino";',
  ]) {
    assert.equal(said("src/core/ipam/carve.ts", code).length, 1, code);
    assert.equal(said("src/model/ip.ts", code).length, 1, code);
    assert.deepEqual(said("src/app/agent/loop.ts", code), [], code);
  }
  for (const code of [
    'import { createHash } from "node:crypto";',
    'import type { Socket } from "node:net";',
    "/** The process that waits: await Date */",
    'const text = "await process";',
    "step.process = 1; interface X { process: string }",
  ])
    assert.deepEqual(said("src/core/ipam/carve.ts", code), [], code);
});

test("koffi is loaded in one file", () => {
  const code = 'import koffi from "koffi";\n';
  assert.deepEqual(said("src/io/kernel/ffi.ts", code), []);
  assert.match(said("src/io/kernel/netlink.ts", code)[0] ?? "", /only src\/io\/kernel\/ffi.ts/);
});

test("a file without a header or with more than 400 lines is refused", () => {
  assert.match(tidyFile("src/model/x.ts", "export const x = 1;\n")[0]?.reason ?? "", /no header/);
  assert.deepEqual(tidyFile("src/model/x.test.ts", "export const x = 1;\n"), []);
  assert.deepEqual(said("src/io/x.ts", "\n".repeat(397)), []);
  assert.deepEqual(said("src/io/x.ts", "\n".repeat(398)), [
    "src/io/x.ts:401: 401 lines; a file has at most 400: split it",
  ]);
  assert.match(said("src/util/x.ts", "")[0] ?? "", /no layer/);
});

test("what is blanked is just comments and literals, and lines stay where they are", () => {
  const rows: [string, string][] = [
    ['a("x//y") // z', "a(      )     "],
    ["a /* b\nc */ d", "a     \n     d"],
    ["a = /[/'\"]/.test(b / c)", "a =        .test(b / c)"],
    [`\`x \${await y} z\``, "     await y    "],
    [`\`\${a({ b: \`c\` })}d\``, "   a({ b:     })   "],
    ["'it\\'s' + b", "        + b"],
  ];
  for (const [source, expected] of rows) assert.equal(blankLiterals(source), expected, source);
});
