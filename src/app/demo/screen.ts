/**
 * What the demo prints: progress, headings, marks. Colours only on a terminal, and not where NO_COLOR (no-color.org) is
 * set; nothing is wider than 80 columns.
 */
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** `styleText` itself leaves colours out where the stream is no terminal or NO_COLOR is set. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

export function print(text = ""): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  print(`\n${paint("bold", text)}\n`);
}

/** Something that is not done, and why; in as many lines as that takes. */
export function note(text: string): void {
  const lines = text.match(/\S.{0,75}(?= |$)/g) ?? [];
  print(`  ${paint("dim", `– ${lines.join("\n    ")}`)}`);
}

/** Does a step of the preparation, and tells when it is done and how long it took. */
export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const live = process.stdout.isTTY;
  if (live) process.stdout.write(`  … ${what}`);
  const clear = live ? "\r\u001b[K" : "";
  try {
    const result = await work();
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    print(`${clear}  ${paint("green", "✔")} ${what.padEnd(66)} ${paint("dim", `${seconds} s`)}`);
    return result;
  } catch (error) {
    print(`${clear}  ${paint("red", "✖")} ${what}`);
    throw error;
  }
}
