import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Column, renderTable } from "./table.ts";

const COLUMNS: readonly Column[] = [
  { title: "NETWORK" },
  { title: "AGENTS", align: "right" },
  { title: "ERROR", cut: true },
];

test("columns are padded, numbers stand right, no line ends in a space", () => {
  assert.equal(
    renderTable(COLUMNS, [
      ["dcos", "3", ""],
      ["dcos6", "1024", "no route"],
    ]),
    ["NETWORK  AGENTS  ERROR", "dcos          3", "dcos6      1024  no route"].join("\n"),
  );
  assert.equal(renderTable(COLUMNS, []), "NETWORK  AGENTS  ERROR");
});

test("what does not fit is cut from the columns that may be cut, and says so", () => {
  const text = renderTable(COLUMNS, [["dcos", "3", "vtep1024: operation not supported"]], 32);
  assert.equal(text, ["NETWORK  AGENTS  ERROR", "dcos          3  vtep1024: oper…"].join("\n"));
});

test("no table of cuttable columns is wider than asked", () => {
  const cells = fc.array(fc.tuple(fc.string({ maxLength: 40 }), fc.string({ maxLength: 90 })), { maxLength: 5 });
  fc.assert(
    fc.property(cells, fc.integer({ min: 20, max: 100 }), (rows, width) => {
      const columns = [
        { title: "A", cut: true },
        { title: "B", cut: true },
      ];
      for (const line of renderTable(columns, rows, width).split("\n")) assert.ok(line.length <= width, line);
    }),
  );
});
