/**
 * The rules of the house that no formatter or linter knows: which layer may import which, what core and model may not
 * touch, and how long a file may be. Each refusal says where, what and why. biome.json holds the rest (functions of at
 * most 60 lines, no default exports, no barrels).
 *
 * Source of truth: CONTRIBUTING.md, "Where things go". A rule that has to bend is changed here, with its reason, and
 * never switched off in the file that breaks it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { blankLiterals } from "./source-text.ts";

export interface Refusal {
  /** Path from the root of the repository. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly reason: string;
}

interface Import {
  readonly line: number;
  /** As written: `./diff.ts`, `node:fs`, `zod`. */
  readonly specifier: string;
  /** Types vanish when the program runs: no cycle, no start-up, no I/O comes of them. */
  readonly typeOnly: boolean;
}

const FILE_LINES_MAX = 400;
const HEADER_LINES_MIN = 3;
const FOLDERS = ["src", "test", "tools", "bench", "sim"];
/** From the top down. Each imports itself and what follows it. */
const LAYERS = ["app", "io", "core", "model"];
/** What core and model may import from outside: all of it computes, and does nothing else. */
const PURE_PACKAGES = ["node:crypto", "yaml", "zod"];
const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/\bawait\b|\basync\b/, "waits; core decides, a loop in app waits"],
  [/\bDate\b|\bperformance\b/, "reads a clock; time is an argument"],
  [
    /\bMath\s*\.\s*random\b|\brandom(UUID|Bytes|Int|FillSync)\b|\bgetRandomValues\b/,
    "uses chance; Random is an argument",
  ],
  [/(?<![.\w])process\b(?!\s*[:?(])/, "reads the process; pass what it needs as an argument"],
  [/\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, "sets a timer; return the deadline instead"],
  [/(?<![.\w])(fetch|console)\b\s*[(.]/, "talks to the outside; return an effect instead"],
];

/** Everything that `path` (from the root of the repository) with this text breaks. */
export function tidyFile(path: string, source: string): Refusal[] {
  const code = blankLiterals(source);
  const refusals: Refusal[] = [];
  const refuse = (line: number, reason: string) => refusals.push({ file: path, line, reason });
  const lines = source.split("\n").length - 1;
  if (lines > FILE_LINES_MAX)
    refuse(FILE_LINES_MAX + 1, `${lines} lines; a file has at most ${FILE_LINES_MAX}: split it`);
  const layer = /^src\/(\w+)\//.exec(path)?.[1];
  if (layer === undefined || path.endsWith(".test.ts")) return refusals;
  if (!LAYERS.includes(layer)) refuse(1, `src/${layer} is no layer; there are ${LAYERS.join(", ")}`);
  if (headerLines(source) < HEADER_LINES_MIN)
    refuse(1, `no header; a file begins with a comment of ${HEADER_LINES_MIN} lines or more on what it decides`);
  for (const found of importsOf(source, code)) {
    const reason = importProblem(path, layer, found);
    if (reason !== undefined) refuse(found.line, reason);
  }
  if (layer === "core" || layer === "model")
    for (const [line, text] of code.split("\n").entries())
      for (const [pattern, reason] of IMPURE) {
        const found = pattern.exec(text)?.[0];
        if (found !== undefined) refuse(line + 1, `'${found.trim()}' in ${layer} ${reason}`);
      }
  return refusals;
}

/** Lines of the comment that the file begins with (behind `#!`), delimiters included. */
function headerLines(source: string): number {
  const comment = /^(#!.*\n)?\/\*\*[\s\S]*?\*\//.exec(source);
  return comment === null ? 0 : comment[0].split("\n").length;
}

/** All `import` and `export … from`, dynamic ones too. `code` tells which of them are not inside a literal. */
function importsOf(source: string, code: string): Import[] {
  const pattern = /\b(import(?!\.)|export)\b(\s+type\b)?[^;"'`]*?["']([^"'\n]+)["']/g;
  return [...source.matchAll(pattern)]
    .filter((match) => code.startsWith(match[1] as string, match.index))
    .filter((match) => match[1] === "import" || /\bfrom\s*["'][^"']+["']$/.test(match[0]))
    .map((match) => ({
      line: source.slice(0, match.index).split("\n").length,
      specifier: match[3] as string,
      typeOnly: match[2] !== undefined,
    }));
}

function importProblem(path: string, layer: string, { specifier, typeOnly }: Import): string | undefined {
  if (specifier === "koffi" && path !== "src/io/kernel/ffi.ts")
    return "koffi calls C; only src/io/kernel/ffi.ts may, so that there is one place to check";
  const pure = layer === "core" || layer === "model";
  if (!specifier.startsWith("."))
    return pure && !typeOnly && !PURE_PACKAGES.includes(specifier)
      ? `${layer} imports ${specifier}; core and model compute only (allowed: ${PURE_PACKAGES.join(", ")})`
      : undefined;
  const target = normalize(join(dirname(path), specifier));
  const targetLayer = /^src\/(\w+)\//.exec(target)?.[1];
  if (targetLayer === undefined) return `src imports ${target}, which is outside src`;
  if (LAYERS.indexOf(targetLayer) < LAYERS.indexOf(layer))
    return `${layer} imports ${targetLayer}; imports point down only: ${LAYERS.join(" → ")}`;
  return coreProblem(path, target);
}

/** Cores never meet: `app` composes them. `core/host` is their common language. */
function coreProblem(path: string, target: string): string | undefined {
  const from = /^src\/core\/([\w-]+)\//.exec(path)?.[1];
  const to = /^src\/core\/([\w-]+)\//.exec(target)?.[1];
  if (from === undefined || to === undefined || to === from || to === "host") return undefined;
  return `core/${from} imports core/${to}; cores never meet, app composes them`;
}

/** All refusals of the tree at `root`, in the order of paths. */
export function tidyTree(root: string): Refusal[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .sort()
      .flatMap((name) => {
        const path = join(root, folder, name);
        return tidyFile(relative(root, path), readFileSync(path, "utf8"));
      }),
  );
}

export function formatRefusal({ file, line, reason }: Refusal): string {
  return `${file}:${line}: ${reason}`;
}
