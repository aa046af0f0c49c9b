/**
 * TypeScript source with everything that is not code blanked out: comments, strings, templates and regular expressions
 * become spaces of the same length, line breaks stay. A search in the result finds code only, at the right line.
 *
 * It is a scanner of characters, not a parser: it knows just enough to tell a division from a regular expression by
 * what stands before it.
 */

/** `source` with comments and literals blanked; same length, same lines. Code inside `${…}` stays. */
export function blankLiterals(source: string): string {
  let out = "";
  let at = 0;
  /** Depth of braces at which each open `${` closes. */
  const templates: number[] = [];
  let depth = 0;
  const blankTo = (end: number) => {
    out += source.slice(at, end).replace(/[^\n]/g, " ");
    at = end;
  };
  while (at < source.length) {
    const char = source[at] as string;
    const end = literalEnd(source, at, out);
    if (end !== undefined) blankTo(end);
    else if (char === "`" || (char === "}" && templates.at(-1) === depth)) {
      if (char === "}") templates.pop();
      const stop = templateStop(source, at + 1);
      if (source[stop - 1] === "{") templates.push(depth);
      blankTo(stop);
    } else {
      if (char === "{") depth++;
      if (char === "}") depth--;
      out += char;
      at++;
    }
  }
  return out;
}

/** Where a comment, string or regular expression that begins at `at` ends; `undefined` when none begins there. */
function literalEnd(source: string, at: number, before: string): number | undefined {
  const rest = source.slice(at, at + 2);
  if (rest === "//") return indexOrEnd(source, "\n", at);
  if (rest === "/*") return indexOrEnd(source, "*/", at + 2) + 2;
  if (rest[0] === '"' || rest[0] === "'") return quotedEnd(source, at, rest[0]);
  if (rest[0] === "/" && /(^|[=([{,;:!&|?>]|\breturn)\s*$/.test(before)) return quotedEnd(source, at, "/");
  return undefined;
}

function indexOrEnd(source: string, text: string, from: number): number {
  const index = source.indexOf(text, from);
  return index < 0 ? source.length : index;
}

/** The place behind the closing `quote`; a `/` inside a character class does not close a regular expression. */
function quotedEnd(source: string, start: number, quote: string): number {
  let inClass = false;
  for (let at = start + 1; at < source.length; at++) {
    const char = source[at];
    if (char === "\\") at++;
    else if (quote === "/" && char === "[") inClass = true;
    else if (quote === "/" && char === "]") inClass = false;
    else if (char === "\n" || (char === quote && !inClass)) return at + 1;
  }
  return source.length;
}

/** The place behind the template's closing backtick, or behind the next `${`. */
function templateStop(source: string, from: number): number {
  for (let at = from; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === "`") return at + 1;
    else if (source.startsWith("${", at)) return at + 2;
  }
  return source.length;
}
