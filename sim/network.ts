/**
 * The underlay of a simulation: datagrams that are late, lost, doubled and out of order, and ways that are cut, also in one
 * direction. Where the wire is on, each packet goes through the real encoding, and what was not written arrives nowhere.
 */
import { decodePacket, encodePacket, messageBytes, PACKET_HEADER_BYTES } from "../src/core/gossip/codec.ts";
import type { Address, MemberId, Message } from "../src/core/gossip/messages.ts";
import { GOSSIP_PACKET_MAX_BYTES } from "../src/model/limits.ts";
import type { Engine } from "./engine.ts";

export interface NetworkShape {
  /** Chance that a datagram is lost. */
  readonly loss: number;
  /** One way, uniform, ms. */
  readonly delayMs: readonly [number, number];
  /** Chance that a datagram comes twice. */
  readonly duplication: number;
  /** Chance that a datagram takes REORDERED_MS longer at most, and is overtaken. */
  readonly reordering: number;
  readonly wire: boolean;
}

export const USUAL_NETWORK: NetworkShape = { loss: 0.05, delayMs: [1, 10], duplication: 0, reordering: 0, wire: false };

const REORDERED_MS = 300;
/** IP and UDP headers, and the seal. */
const OVERHEAD_BYTES = 28 + 32;

export type Deliver = (from: Address, sender: MemberId, messages: readonly Message[]) => void;

export class Network {
  shape: NetworkShape;
  /** Bytes that were sent, headers and seal included, and packets. */
  bytes = 0;
  packets = 0;
  /** Of the packet that a receiver could not read; must stay 0. */
  malformed = 0;
  readonly #engine: Engine;
  readonly #fraction: () => number;
  readonly #ports = new Map<Address, Deliver>();
  /** Whether a packet from the first address to the second one is cut off. */
  #isCut: ((from: Address, to: Address) => boolean) | undefined;

  constructor(engine: Engine, shape: NetworkShape, fraction: () => number) {
    this.#engine = engine;
    this.shape = shape;
    this.#fraction = fraction;
  }

  bind(address: Address, deliver: Deliver): void {
    this.#ports.set(address, deliver);
  }

  unbind(address: Address): void {
    this.#ports.delete(address);
  }

  isCut(from: Address, to: Address): boolean {
    return this.#isCut?.(from, to) === true;
  }

  cut(isCut: ((from: Address, to: Address) => boolean) | undefined): void {
    this.#isCut = isCut;
  }

  /** @param bytes of the packet before it is sealed */
  send(from: Address, sender: MemberId, to: Address, messages: readonly Message[], bytes: number): number {
    const { loss, duplication, wire } = this.shape;
    const size = bytes + OVERHEAD_BYTES;
    this.bytes += size;
    this.packets += 1;
    if (bytes > GOSSIP_PACKET_MAX_BYTES) throw new Error(`${from} sends ${bytes} bytes to ${to} in one packet`);
    if (this.isCut(from, to)) return size;
    const carried = wire ? this.#throughWire(sender, messages, bytes) : messages;
    if (this.#fraction() >= loss) this.#carry(from, sender, to, carried);
    if (duplication > 0 && this.#fraction() < duplication) this.#carry(from, sender, to, carried);
    return size;
  }

  #carry(from: Address, sender: MemberId, to: Address, messages: readonly Message[]): void {
    const { delayMs, reordering } = this.shape;
    const [least, most] = delayMs;
    const more = reordering > 0 && this.#fraction() < reordering ? this.#fraction() * REORDERED_MS : 0;
    this.#engine.after(least + this.#fraction() * (most - least) + more, () =>
      this.#ports.get(to)?.(from, sender, messages),
    );
  }

  #throughWire(sender: MemberId, messages: readonly Message[], bytes: number): readonly Message[] {
    const encoded = encodePacket(sender, messages);
    const said = messages.reduce((sum, message) => sum + messageBytes(message), PACKET_HEADER_BYTES);
    if (encoded.length !== bytes || said !== bytes)
      throw new Error(`a packet of ${encoded.length} bytes was counted as ${bytes}`);
    const packet = decodePacket(encoded);
    this.malformed += packet?.malformed ?? 1;
    return packet?.messages ?? [];
  }
}
