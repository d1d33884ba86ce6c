/**
 * Wire check: looks at each frame that a node puts on a zone's wire, as somebody with a mirror port would.
 *
 *   external tuples   one external tuple carries one flow: after it was another flow's, it is never the first one's again, and
 *                     while nobody failed it does not change hands at all
 *   policy            nothing leaves towards a host that no rule lets through: marked packets, closed ports, new connections
 *                     from outside to anything but the published server
 *
 * Test traffic carries the number of its flow behind a mark (see marked()).
 */
import type { FrameInFlight } from "../../../src/io/memory-segment.ts";
import { u16 } from "../../../src/packet/bytes.ts";
import { isMac } from "../../../src/packet/ethernet.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../../src/packet/ipv4.ts";
import { ACK, SYN } from "../../../src/packet/tcp.ts";
import { formatIpv4 } from "../../../src/policy/address.ts";
import type { SimCluster } from "./cluster.ts";

export const MARK = 0x53_59_4e_57;
/** Flow number of packets that no rule lets through. */
export const DENIED = 0xffff_ffff;
/** What the inside may not reach. */
export const CLOSED_PORT = 23;
const MARK_BYTES = 12;
const FINDINGS_MAX = 5;
const ETHERNET = 14;
const IPV4 = 20;
const UDP = 8;
const WEB_PORT = 80;

/** A payload of flow `flow`. */
export function marked(flow: number, sequence: number): Buffer {
  const payload = Buffer.alloc(MARK_BYTES);
  payload.writeUInt32BE(MARK, 0);
  payload.writeUInt32BE(flow, 4);
  payload.writeUInt32BE(sequence, 8);
  return payload;
}

/** The flow that a payload belongs to; -1 for what is not marked. */
export function flowOf(payload: Uint8Array, at = 0): number {
  if (payload.length < at + MARK_BYTES || u32(payload, at) !== MARK) return -1;
  return u32(payload, at + 4);
}

interface Holder {
  flow: number;
  readonly before: Set<number>;
}

export class WireCheck {
  readonly findings: string[] = [];
  /** Nobody has failed so far: no flow can have been lost. */
  isUnharmed = true;
  /** Frames with flow numbers that were looked at. */
  looked = 0;
  readonly #cluster: SimCluster;
  readonly #holders = new Map<string, Holder>();

  readonly #hosts: readonly Uint8Array[];

  /** `hosts`: MACs of those who are no members. What nodes send each other over a zone is their own business (ADR 11). */
  constructor(cluster: SimCluster, hosts: readonly Uint8Array[]) {
    this.#cluster = cluster;
    this.#hosts = hosts;
  }

  onSent({ segment, from, bytes }: FrameInFlight): void {
    const { inside, outside } = this.#cluster.wires.segments;
    if ((segment !== inside && segment !== outside) || !from.name.startsWith("fw")) return;
    if (u16(bytes, 12) !== 0x0800 || !this.#hosts.some((mac) => isMac(bytes, 0, mac, 0))) return;
    const protocol = bytes[ETHERNET + 9]!;
    const body = ETHERNET + IPV4;
    if (protocol === PROTOCOL_UDP) this.#onMarked(segment === outside, bytes, body + UDP, from.name);
    else if (protocol === PROTOCOL_TCP) {
      const flags = bytes[body + 13]!;
      if ((flags & (SYN | ACK)) === SYN) this.#onSyn(segment === outside, bytes, body, from.name);
      else this.#onMarked(segment === outside, bytes, body + ((bytes[body + 12]! >> 4) << 2), from.name);
    }
  }

  #onSyn(isOut: boolean, bytes: Uint8Array, body: number, node: string): void {
    const port = u16(bytes, body + 2);
    if (isOut ? port === CLOSED_PORT : port !== WEB_PORT) {
      this.#find(`${node} let a SYN through to ${formatIpv4(u32(bytes, ETHERNET + 16))}:${port}`);
    }
  }

  #onMarked(isOut: boolean, bytes: Uint8Array, payload: number, node: string): void {
    const flow = flowOf(bytes, payload);
    if (flow < 0) return;
    this.looked++;
    if (flow === DENIED || u16(bytes, ETHERNET + IPV4 + 2) === CLOSED_PORT) {
      this.#find(
        `${node} let a packet through to ${formatIpv4(u32(bytes, ETHERNET + 16))} that no rule allows`,
      );
    } else if (isOut) {
      this.#onTranslated(bytes, flow);
    }
  }

  #onTranslated(bytes: Uint8Array, flow: number): void {
    const end = (address: number, port: number): string =>
      `${formatIpv4(u32(bytes, ETHERNET + address))}:${u16(bytes, ETHERNET + IPV4 + port)}`;
    const tuple = `${bytes[ETHERNET + 9]} ${end(12, 0)} > ${end(16, 2)}`;
    const holder = this.#holders.get(tuple);
    if (holder === undefined) {
      this.#holders.set(tuple, { flow, before: new Set() });
      return;
    }
    if (holder.flow === flow) return;
    if (this.isUnharmed || holder.before.has(flow)) {
      this.#find(`${tuple} was given to flow ${holder.flow} and to flow ${flow}`);
    }
    holder.before.add(holder.flow);
    holder.flow = flow;
  }

  #find(what: string): void {
    const text = `at ${this.#cluster.clock.nowMs().toFixed(3)} ms ${what}`;
    if (this.findings.length < FINDINGS_MAX) this.findings.push(text);
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return ((u16(bytes, at) << 16) | u16(bytes, at + 2)) >>> 0;
}
