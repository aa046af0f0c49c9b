/**
 * Rows of text as a table for a terminal: columns padded to their widest cell, two spaces between them, and never wider
 * than asked: what does not fit is cut from the columns that may be cut, widest first, and marked with `…`.
 */

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Its cells may be cut, down to the width of the title. */
  readonly cut?: boolean;
}

const TERMINAL_WIDTH = 80;
const GAP = "  ";

/** Lines without a line break at the end; only the titles when there are no rows. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width = TERMINAL_WIDTH,
): string {
  const widths = columnWidths(columns, rows, width);
  const line = (cells: readonly string[]) =>
    columns
      .map((column, i) => fit(cells[i] ?? "", widths[i] ?? 0, column.align ?? "left"))
      .join(GAP)
      .trimEnd();
  return [columns.map(({ title }) => title), ...rows].map(line).join("\n");
}

function columnWidths(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): number[] {
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? "").length)));
  let excess = widths.reduce((sum, each) => sum + each, GAP.length * (columns.length - 1)) - width;
  for (; excess > 0; excess--) {
    const candidates = columns.flatMap(({ cut, title }, i) => (cut && (widths[i] ?? 0) > title.length ? [i] : []));
    const widest = candidates.sort((a, b) => (widths[b] ?? 0) - (widths[a] ?? 0))[0];
    if (widest === undefined) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

function fit(cell: string, width: number, align: "left" | "right"): string {
  const text = cell.length > width ? `${cell.slice(0, Math.max(0, width - 1))}…` : cell;
  return align === "left" ? text.padEnd(width) : text.padStart(width);
}

/** An RFC 3339 date of UTC as people read it: 2026-11-21 17:02Z. */
export function minuteOf(date: string): string {
  return `${date.slice(0, 16).replace("T", " ")}Z`;
}

/** Above this a count is shown as a power of two: 2^64. */
const PLAIN_COUNT_MAX = 10_000_000;

/** A count as people read it. */
export function countText(count: number): string {
  return count > PLAIN_COUNT_MAX ? `2^${Math.round(Math.log2(count))}` : String(count);
}
