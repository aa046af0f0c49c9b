/**
 * YAML 1.2 text (JSON is a part of it) to plain values. Every problem of the text has its line and column. Duplicate
 * keys are found here and not by the library, whose check is quadratic and does not name the key.
 */
import { type Document, isScalar, LineCounter, parseDocument, visit } from "yaml";
import { messageOf } from "../../model/fault.ts";
import { CONFIG_ALIASES_MAX } from "../../model/limits.ts";
import { type Problems, quote } from "./problems.ts";

/** @returns the document's value, `undefined` for an empty one or when `problems` were added */
export function readYaml(text: string, problems: Problems): unknown {
  const lines = new LineCounter();
  const add = (offset: number, wrong: string, right: string) => {
    const { line, col } = lines.linePos(offset);
    problems.add(`line ${line}, column ${col}`, wrong, right);
  };
  const before = problems.count;
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      logLevel: "error",
    });
    for (const error of document.errors) add(error.pos[0], ...explain(error.code, error.message));
    if (problems.count > before) return undefined;
    findDuplicateKeys(document, add);
    findUnknownAliases(document, add);
    if (problems.count > before) return undefined;
    return document.toJS({ maxAliasCount: CONFIG_ALIASES_MAX }) ?? undefined;
  } catch (thrown) {
    // Nesting that exhausts the stack, aliases that exceed the bound: the library throws errors of many classes.
    problems.add("", `the text cannot be read as YAML (${messageOf(thrown)})`, "write it plainly, without anchors");
    return undefined;
  }
}

function explain(code: string, message: string): [wrong: string, right: string] {
  if (code === "TAB_AS_INDENT") return ["a tab is used to indent", "use spaces"];
  if (code === "MULTIPLE_DOCS") return ["a second document begins here", "keep one document in the file"];
  if (code === "RESOURCE_EXHAUSTION") return ["the nesting is too deep", "write it with fewer levels"];
  return [message, "mend the YAML here"];
}

type Add = (offset: number, wrong: string, right: string) => void;

function findDuplicateKeys(document: Document, add: Add): void {
  visit(document, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const name = String(key.value);
        if (seen.has(name)) add(key.range?.[0] ?? 0, `the key ${quote(name)} is there twice`, "keep one of the two");
        seen.add(name);
      }
    },
  });
}

function findUnknownAliases(document: Document, add: Add): void {
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) === undefined)
        add(alias.range?.[0] ?? 0, `the anchor &${alias.source} is not defined above`, "define it, or write the value");
    },
  });
}
