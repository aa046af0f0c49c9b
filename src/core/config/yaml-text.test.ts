import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DCOS, DCOS6, fileOf, network, problemsOf } from "../../../test/support/config-file.ts";

const BROKEN: (readonly [what: string, text: string, problem: RegExp])[] = [
  [
    "a duplicate key",
    `dcos_overlay_network:\n  vtep_mtu: 1500\n  vtep_mtu: 1400\n`,
    /^line 3, column 3: the key "vtep_mtu" is there twice/,
  ],
  ["a tab", `dcos_overlay_network:\n\tvtep_mtu: 1500\n`, /^line 2, column 1: a tab is used to indent; use spaces/],
  ["an open bracket", "a: [1,\nb: 2", /^line \d+, column \d+: /],
  ["an unknown anchor", "a: 1\nb: *x\n", /^line 2, column 4: the anchor &x is not defined above/],
  ["two documents", "a: 1\n---\nb: 2\n", /^line 2, column 1: a second document/],
];

for (const [what, text, pattern] of BROKEN)
  test(`a text with ${what} is refused at its line and column`, () => {
    const [problem] = problemsOf(text);
    assert.match(problem ?? "", pattern);
    assert.match(problem ?? "", /; ./, "says what would be right");
  });

test("noise in place of a file, or of any value in one, gives nothing but the fault", () => {
  const noise = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(..."[]{}:,-&*!|>'\"#%@ \n\tab0") }),
  );
  fc.assert(
    fc.property(noise, (text) => void problemsOf(text)),
    { numRuns: 2_000 },
  );
  const paths = ["vtep_subnet", "vtep_subnet6", "vtep_mac_oui", "vtep_mtu", "overlays"];
  const keys = ["name", "subnet", "prefix", "subnet6", "prefix6", "enabled"];
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom("9.0.0.0/8", "::/0", "0.0.0.0/0", "1/2", "__proto__", 24));
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.constantFrom(...keys), value, value, (key, overlayKey, a, b) => {
      problemsOf(fileOf(network({ [key]: a })));
      problemsOf(fileOf(network({ [key]: a, overlays: [{ ...DCOS, [overlayKey]: b }, DCOS6] })));
      problemsOf(fileOf(network({}), { agent_list: a, dcos_overlay_network_default_name: b }));
    }),
    { numRuns: 1_000 },
  );
});

test("a mapping with the keys of an object's own methods is no string", () => {
  for (const key of ["vtep_subnet", "vtep_subnet6", "vtep_mac_oui"])
    assert.equal(problemsOf(fileOf(network({ [key]: { toString: false } }))).length, 1, key);
});

test("nesting and aliases that would exhaust the process are refused", () => {
  const bomb = [
    "a: &a [x,x,x,x,x,x,x,x,x,x]",
    ..."bcdefgh".split("").map((k, i) => `${k}: &${k} [${Array(10).fill(`*${"abcdefg"[i]}`).join()}]`),
  ];
  assert.match(problemsOf(bomb.join("\n"))[0] ?? "", /cannot be read as YAML/);
  assert.match(problemsOf("[".repeat(50_000))[0] ?? "", /nesting is too deep/);
});
