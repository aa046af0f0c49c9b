/**
 * Bytes that arrive in any pieces → lines of UTF-8, each of a bounded length. A character that is cut in two by a piece's
 * end is whole in its line.
 */

const NEWLINE = 0x0a;

export class LineSplitter {
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Calls back for each line that this piece ends, without its newline.
   * @returns false when a line is too long; it and what follows are lost, and the splitter is of no more use
   */
  push(bytes: Buffer, onLine: (line: string) => void): boolean {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      if (!this.#keep(bytes.subarray(start, end))) return false;
      start = end + 1;
      onLine(this.#take());
    }
    return this.#keep(bytes.subarray(start));
  }

  #keep(piece: Buffer): boolean {
    this.#length += piece.length;
    if (this.#length > this.#maxBytes) return false;
    if (piece.length > 0) this.#pieces.push(piece);
    return true;
  }

  #take(): string {
    const line = Buffer.concat(this.#pieces, this.#length).toString();
    this.#pieces = [];
    this.#length = 0;
    return line;
  }
}
