/**
 * Frames for the datapath's programs, drawn from chance: half of them as they should be, the other half with something
 * wrong somewhere. Each is made of one seed's numbers alone, so that a run can be replayed.
 */
import { type Family, familyOf, type Ip, ipToBytes } from "../../src/model/ip.ts";
import { VXLAN_PORT } from "../../src/model/names.ts";
import { type Gso, onesSum, type ProgramKind } from "./datapath-oracle.ts";

/** What addresses and numbers are drawn from. */
export interface Pools {
  /** Where a container's packet comes in, and where the others do. */
  readonly arrivalMac: Uint8Array;
  /** Of this host; `isHere`: its packets come in here. */
  readonly containers: readonly { readonly mac: Uint8Array; readonly address: Ip; readonly isHere: boolean }[];
  /** Of other hosts, and the hosts. */
  readonly remotes: readonly { readonly address: Ip; readonly node: Ip }[];
  /** Anything else: guarded, special, and outside of all. */
  readonly others: readonly Ip[];
  readonly own: Ip;
  readonly vni: number;
  readonly tunnelMac: Uint8Array;
}

export interface DrawnFrame {
  readonly program: ProgramKind;
  readonly frame: Buffer;
  readonly gso?: Gso;
}

const PROGRAMS: readonly ProgramKind[] = ["container", "tunnel", "underlay"];
const PORTS = [80, 80, 53, 67, 68, 546, 547, VXLAN_PORT, 4789, 40_000, 40_001];
const PROTOCOLS = [6, 17, 6, 17, 6, 17, 6, 17, 1, 58, 132, 4, 0, 44, 51, 60];
const SIZES = [0, 1, 20, 100, 500, 552, 572, 1_382, 1_410, 1_422, 1_423, 1_430, 2_000];
const ETHERTYPES = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0060];
const PAYLOAD_MAX = 2_000;

export class FrameSource {
  readonly #fraction: () => number;
  readonly #pools: Pools;
  /** Nothing of the frame that is drawn is wrong before it is damaged. */
  #isFine = false;

  constructor(fraction: () => number, pools: Pools) {
    this.#fraction = fraction;
    this.#pools = pools;
  }

  draw(): DrawnFrame {
    this.#isFine = this.#one(0.7);
    const program = this.#of(PROGRAMS);
    const frame = this.#whole(program, this.#one(0.5) ? 4 : 6);
    const gso = this.#one(0.05)
      ? { size: this.#of([100, 536, 1_398, 1_500]), segments: 1 + this.#upTo(40) }
      : undefined;
    return { program, frame: this.#one(0.25) ? this.#damaged(frame) : frame, ...(gso !== undefined && { gso }) };
  }

  // ---- as it should be, mostly -------------------------------------------------------------------------------------

  #whole(program: ProgramKind, family: Family): Buffer {
    const { containers, remotes, arrivalMac, others, tunnelMac } = this.#pools;
    const isOf = ({ address }: { readonly address: Ip }) => familyOf(address) === family;
    const here = this.#of(containers.filter((each) => isOf(each) && (each.isHere || !this.#isFine)));
    const other = this.#of(containers.filter(isOf)).address;
    const remote = this.#of(remotes.filter(isOf));
    const anyone = this.#of(others.filter((address) => familyOf(address) === family));
    const ethertype = u16(family === 4 ? 0x0800 : 0x86dd);
    if (program === "container") {
      const source = this.#fine(0.9) ? here.address : anyone;
      const destination = this.#one(0.8) ? this.#of([remote.address, remote.address, other]) : anyone;
      return Buffer.concat([arrivalMac, here.mac, ethertype, this.#packet(family, source, destination)]);
    }
    const source = this.#fine(0.8) ? remote.address : anyone;
    const destination = this.#one(0.9) ? other : anyone;
    const mac = program === "underlay" ? tunnelMac : arrivalMac;
    const inner = Buffer.concat([mac, arrivalMac, ethertype, this.#packet(family, source, destination)]);
    return program === "tunnel" ? inner : this.#wrapped(inner, this.#fine(0.7) ? remote.node : this.#of(remotes).node);
  }

  #packet(family: Family, source: Ip, destination: Ip): Buffer {
    const protocol = this.#fine(0.8) ? this.#of([6, 17]) : this.#of(PROTOCOLS);
    const payload = this.#bytes(this.#one(0.8) ? this.#of(SIZES) : this.#upTo(PAYLOAD_MAX));
    const segment = Buffer.concat([this.#transport(protocol, payload.length), payload]);
    const hops = this.#fine(0.9) ? 2 + this.#upTo(253) : this.#upTo(2);
    const tos = this.#upTo(255);
    if (family === 6) {
      const header = Buffer.from([0x60 | (tos >> 4), (tos << 4) & 0xff, 0, 0, 0, 0, protocol, hops]);
      header.writeUInt16BE(segment.length, 4);
      return Buffer.concat([header, ipToBytes(source), ipToBytes(destination), segment]);
    }
    const options = this.#fine(0.9) ? Buffer.alloc(0) : this.#bytes(4 * this.#upTo(10));
    const length = u16(20 + options.length + segment.length);
    const fragment = this.#fine(0.9) ? this.#of([0, 0x4000, 0x8000]) : this.#upTo(0xffff);
    const numbers = Buffer.from([0x45 + options.length / 4, tos, ...length, ...this.#bytes(2), ...u16(fragment)]);
    const rest = Buffer.from([hops, protocol, 0, 0]);
    const header = Buffer.concat([numbers, rest, ipToBytes(source), ipToBytes(destination), options]);
    header.writeUInt16BE(0xffff - onesSum(header), 10);
    if (this.#one(0.02)) makeSumOnes(header);
    return Buffer.concat([header, segment]);
  }

  #transport(protocol: number, payload: number): Buffer {
    const port = () => u16(this.#one(0.4) ? this.#of(PORTS) : 30_000 + this.#upTo(3_000));
    if (protocol === 17) return Buffer.from([...port(), ...port(), ...u16(8 + payload), 0, 0]);
    const header = Buffer.from([...port(), ...port(), ...this.#bytes(8), 0x50, 0x10, ...this.#bytes(6)]);
    if (this.#one(0.1)) header.writeUInt8(this.#upTo(255), 12);
    return header;
  }

  #wrapped(inner: Buffer, node: Ip): Buffer {
    const { arrivalMac, own, vni } = this.#pools;
    const length = 36 + inner.length;
    const tos = this.#one(0.7) ? this.#upTo(2) : this.#upTo(255);
    const ip = Buffer.from([
      0x45,
      tos,
      ...u16(length),
      0,
      0,
      0x40,
      0,
      64,
      17,
      0,
      0,
      ...ipToBytes(node),
      ...ipToBytes(own),
    ]);
    ip.writeUInt16BE(0xffff - onesSum(ip), 10);
    const udp = Buffer.from([...u16(49_152 + this.#upTo(16_383)), ...u16(VXLAN_PORT), ...u16(length - 20), 0, 0]);
    const vxlan = Buffer.from([8, 0, 0, 0, vni >> 16, (vni >> 8) & 0xff, vni & 0xff, 0]);
    const outer = Buffer.concat([arrivalMac, arrivalMac, u16(0x0800), ip, udp, vxlan]);
    return Buffer.concat([outer, this.#fine(0.95) ? inner : this.#wrapped(inner, node)]);
  }

  // ---- with something wrong ----------------------------------------------------------------------------------------

  #damaged(frame: Buffer): Buffer {
    const mine = Buffer.from(frame);
    const at = (most: number) => this.#upTo(Math.min(most, mine.length) - 1);
    switch (this.#upTo(8)) {
      case 0: // a bit of the headers
        for (let i = this.#upTo(3); i >= 0; i--) flip(mine, at(150), 1 << this.#upTo(7));
        return mine;
      case 1: // a byte of them
        for (let i = this.#upTo(3); i >= 0; i--) mine.writeUInt8(this.#upTo(255), at(150));
        return mine;
      case 2: // cut off
        return mine.subarray(0, 14 + this.#upTo(mine.length - 14));
      case 3: // with something behind it
        return Buffer.concat([mine, this.#bytes(1 + this.#upTo(60))]);
      case 4: // a VLAN's, of no number or of some
        return Buffer.concat([mine.subarray(0, 12), u16(0x8100), u16(this.#upTo(2)), mine.subarray(12)]);
      case 5: // another kind of packet
        mine.writeUInt16BE(this.#of(ETHERTYPES), 12);
        return mine;
      case 6: // a length, a port, a flag: words at any place
        for (let i = this.#upTo(2); i >= 0; i--) this.#changeWord(mine, at(100) & ~1);
        return mine;
      case 7: // for another device, or from one
        mine.set(this.#bytes(6), this.#of([0, 6]));
        return mine;
      default: // nothing that anybody knows
        return Buffer.concat([mine.subarray(0, this.#of([14, 34, 50, 64])), this.#bytes(this.#upTo(200))]);
    }
  }

  /** By one, or to something special. */
  #changeWord(frame: Buffer, at: number): void {
    if (at + 2 > frame.length) return;
    const word = frame.readUInt16BE(at);
    frame.writeUInt16BE(
      this.#of([(word + 1) & 0xffff, (word - 1) & 0xffff, 0, 0xffff, VXLAN_PORT, 0x2000, 0x8000]),
      at,
    );
  }

  // ---- chance ------------------------------------------------------------------------------------------------------

  #one(probability: number): boolean {
    return this.#fraction() < probability;
  }

  /** Right always where all is to be right, else with this probability. */
  #fine(probability: number): boolean {
    return this.#isFine || this.#one(probability);
  }

  /** 0 to `most`. */
  #upTo(most: number): number {
    return Math.floor(this.#fraction() * (Math.max(0, most) + 1));
  }

  #of<T>(from: readonly T[]): T {
    return from[this.#upTo(from.length - 1)] as T;
  }

  #bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: Math.ceil(count) }, () => this.#upTo(255)));
  }
}

function u16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 0xff, value & 0xff]);
}

function flip(frame: Buffer, at: number, bit: number): void {
  frame.writeUInt8(frame.readUInt8(at) ^ bit, at);
}

/** Zero has two forms in ones' complement, and a checksum of all ones is right where one of zero is. */
function makeSumOnes(header: Buffer): void {
  const sum = header.readUInt16BE(4) + header.readUInt16BE(10);
  header.writeUInt16BE((sum & 0xffff) + (sum >>> 16), 4);
  header.writeUInt16BE(0xffff, 10);
}
