/**
 * All peers as the first line of a peer stream, kept as bytes that every stream shares: thousands of agents that come
 * back at once would otherwise each hold some megabytes of their own.
 */
import type { Peer } from "../../model/cluster.ts";

const HEAD = Buffer.from('{"type":"snapshot","peers":[');
const TAIL = Buffer.from("]}\n");

export class PeerSnapshot {
  readonly #peers = new Map<string, string>();
  #bytes: Buffer | undefined;
  /** Where each peer begins and ends in the bytes. */
  readonly #places = new Map<string, { readonly start: number; readonly end: number }>();

  set(peer: Peer): void {
    this.#peers.set(peer.id, JSON.stringify(peer));
    this.#bytes = undefined;
  }

  delete(id: string): void {
    this.#peers.delete(id);
    this.#bytes = undefined;
  }

  /** The line without the peer `id`, in pieces. */
  lineWithout(id: string): Uint8Array[] {
    const bytes = this.#bytes ?? this.#build();
    const place = this.#places.get(id);
    if (place === undefined) return [HEAD, bytes, TAIL];
    // One comma goes with it: the one before, or the one after the first.
    const before = bytes.subarray(0, Math.max(place.start - 1, 0));
    const after = bytes.subarray(place.start === 0 ? place.end + 1 : place.end);
    return [HEAD, before, after, TAIL].filter((piece) => piece.length > 0);
  }

  #build(): Buffer {
    this.#places.clear();
    let start = 0;
    const parts = [...this.#peers].map(([id, json]) => {
      const end = start + Buffer.byteLength(json);
      this.#places.set(id, { start, end });
      start = end + 1;
      return json;
    });
    this.#bytes = Buffer.from(parts.join(","));
    return this.#bytes;
  }
}
