/**
 * Redirect: carries a frame to another node: in GENEVE over the cluster link, in clear or sealed, or unchanged over the wire it came
 * from. Owns both encapsulations and what comes out of the first; who the owner is, and whether to redirect at all, is decided
 * elsewhere, and keys belong to whoever hands in the seal (redirect-seal.ts).
 *
 *   clear   | Ethernet 14 | IPv4 20 | UDP 8 | GENEVE 8 | option 12 | the frame as it arrived
 *           ^ at - 62: written into the headroom                   ^ at
 *   sealed  | Ethernet 14 | IPv4 20 | UDP 8 | GENEVE 8 | option 12 | what the option told 8 | the frame | tag 16 |
 *           ^ at - 70                                                                       ^ at
 */
import { ETHER_IPV4, ETHERNET_BYTES, isMac, MAC_BYTES, setEtherType, setMac } from "../packet/ethernet.ts";
import * as geneve from "../packet/geneve.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { IPV4_BYTES, PROTOCOL_UDP, writeHeader } from "../packet/ipv4.ts";
import * as udp from "../packet/udp.ts";
import { MAX_NODE_ID, type PeerAddress } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import { P_SOURCE, type Packet } from "./packet.ts";
import { type RedirectSeal, SEAL_NO_KEY, SEAL_OPENED, SEAL_REPLAYED } from "./redirect-seal.ts";
import { dropVerdict } from "./verdict.ts";

/** Bytes before a frame that is redirected in clear. */
export const REDIRECT_BYTES = ETHERNET_BYTES + IPV4_BYTES + udp.UDP_BYTES + geneve.GENEVE_HEADER_BYTES;
const DROP_TRUNCATED = dropVerdict("truncated");
const DROP_NOT_FOR_US = dropVerdict("not_for_us");
const DROP_BAD_SOURCE = dropVerdict("bad_source");
const DROP_FRAGMENT = dropVerdict("fragment");
const DROP_BAD_HEADER = dropVerdict("bad_header");
const DROP_REFUSED = dropVerdict("redirect_refused");
const TTL = 64;
/** Source ports carry entropy for the switches (RFC 8926 section 3.3), from the dynamic range. */
const ENTROPY_PORT = 49_152;

/** Bytes that a redirect adds to a frame, sealed or in clear. */
export function redirectBytes(isSealed: boolean): number {
  return isSealed ? REDIRECT_BYTES + geneve.SEALED_BYTES : REDIRECT_BYTES;
}

/** What an engine counts by node id, in RedirectCounts. */
export const REDIRECTS_OUT = 0;
export const REDIRECTS_IN = 1;
/** What came from the peer's address and was not taken: forged, replayed, or in clear where it has to be sealed. */
export const REDIRECTS_REFUSED = 2;
/** Over the wire of a zone. */
export const REDIRECTS_ZONE_OUT = 3;
export const REDIRECT_CELLS = 4;
/** Cells of all peers: node id * REDIRECT_CELLS + REDIRECTS_*. */
export const REDIRECT_COUNT_CELLS = (MAX_NODE_ID + 1) * REDIRECT_CELLS;

/** wrap() when it cannot be done now. */
export const NOT_WRAPPED = -1;
/** unwrap() when the frame is not taken. */
export const NOT_OPENED = -1;

export class Redirect {
  /** Set by wrap(): where the frame to send begins. Set by unwrap(): where the header's zone(), port() and the others are read. */
  at = 0;
  /** Set by unwrap(): the inner frame's length. */
  lengthBytes = 0;
  /** Bytes that a redirect adds to a frame. */
  readonly overheadBytes: number;
  readonly #context: EngineContext;
  readonly #seal: RedirectSeal | null;
  readonly #isSealing: boolean;
  readonly #counts: Float64Array;

  /** `counts`: REDIRECT_COUNT_CELLS cells. */
  constructor(context: EngineContext, seal: RedirectSeal | null, counts: Float64Array) {
    this.#context = context;
    this.#seal = seal;
    this.#isSealing = seal?.isSealing === true;
    this.#counts = counts;
    this.overheadBytes = redirectBytes(this.#isSealing);
  }

  count(node: number, what: number): void {
    const cell = node * REDIRECT_CELLS + what;
    this.#counts[cell] = this.#counts[cell]! + 1;
  }

  /**
   * Wraps the packet's frame for a peer and returns its new length, which begins at `this.at`; NOT_WRAPPED, with nothing changed that
   * matters, while there is no key for the peer.
   */
  wrap(packet: Packet, peer: PeerAddress, clusterPort: number, slot: number, isToMeet: boolean): number {
    const { frames, view, ports } = this.#context;
    const bytes = frames.bytes;
    const isSealing = this.#isSealing;
    const at = packet.at - REDIRECT_BYTES - (isSealing ? geneve.SEALED_HEAD_BYTES : 0);
    const ip = at + ETHERNET_BYTES;
    const header = ip + IPV4_BYTES + udp.UDP_BYTES;
    const { zone, port, lengthBytes } = packet;
    if (isSealing) {
      geneve.writeSealed(bytes, header, zone, port, slot, view.epoch, isToMeet);
      const sealedBytes = geneve.SEALED_HEAD_BYTES + lengthBytes;
      if (!this.#seal!.seal(bytes, header, sealedBytes, peer.nodeId)) return NOT_WRAPPED;
    } else {
      geneve.write(bytes, header, zone, port, slot, view.epoch, isToMeet);
    }
    const total = this.overheadBytes - ETHERNET_BYTES + lengthBytes;
    setMac(bytes, at, peer.clusterMac, 0);
    setMac(bytes, at + MAC_BYTES, ports[clusterPort]!.mac, 0);
    setEtherType(bytes, at, ETHER_IPV4);
    writeHeader(bytes, ip, total, TTL, PROTOCOL_UDP, view.clusterIp | 0, peer.clusterIp | 0);
    const entropy =
      ENTROPY_PORT | ((packet.sourcePort ^ packet.destinationPort ^ packet.words[P_SOURCE + 3]!) & 0x3fff);
    udp.writeHeader(bytes, ip + IPV4_BYTES, entropy, geneve.GENEVE_PORT, total - IPV4_BYTES);
    this.at = at;
    return lengthBytes + this.overheadBytes;
  }

  /**
   * Takes the frame at `at` out of the GENEVE datagram whose IPv4 header is at `ip` (without options): its offset, with `this.at` and
   * `lengthBytes` set, or NOT_OPENED with the verdict in `this.verdict`.
   */
  unwrap(at: number, lengthBytes: number, ip: number): number {
    const bytes = this.#context.frames.bytes;
    const header = ip + IPV4_BYTES + udp.UDP_BYTES;
    const end = ip + ipv4.totalBytes(bytes, ip);
    const inner = header + geneve.GENEVE_HEADER_BYTES;
    if (end > at + lengthBytes || inner + ETHERNET_BYTES > end) return this.#refuse(DROP_TRUNCATED);
    if (ipv4.destination(bytes, ip) !== (this.#context.view.clusterIp | 0)) {
      return this.#refuse(DROP_NOT_FOR_US);
    }
    const peer = peerByClusterIp(this.#context, ipv4.source(bytes, ip));
    if (peer === 0) return this.#refuse(DROP_BAD_SOURCE);
    // Redirected frames are never cut: what looks like a part of one was damaged.
    if (ipv4.isFragment(bytes, ip)) return this.#refuse(DROP_FRAGMENT);
    if (geneve.isSealed(bytes, header)) return this.#open(peer, header, end);
    if (!geneve.isRedirect(bytes, header)) return this.#refuse(DROP_BAD_HEADER);
    if (this.#seal?.isRequired === true) return this.#distrust(peer, COUNT.redirectsClearRefused);
    this.count(peer, REDIRECTS_IN);
    this.at = header;
    this.lengthBytes = end - inner;
    return inner;
  }

  /** Why unwrap() took nothing. */
  verdict = 0;

  #open(peer: number, header: number, end: number): number {
    const inner = header + geneve.GENEVE_HEADER_BYTES + geneve.SEALED_HEAD_BYTES;
    const tail = end - geneve.SEALED_TAG_BYTES;
    if (inner + ETHERNET_BYTES > tail) return this.#refuse(DROP_TRUNCATED);
    // Who has no keys knows no sealed frames: the option is critical, and they drop it.
    if (this.#seal === null) return this.#refuse(DROP_BAD_HEADER);
    const sealedBytes = tail - header - geneve.GENEVE_HEADER_BYTES;
    const answer = this.#seal.open(this.#context.frames.bytes, header, sealedBytes, peer);
    if (answer === SEAL_NO_KEY) return this.#distrust(peer, COUNT.redirectsKeyless);
    if (answer === SEAL_REPLAYED) return this.#distrust(peer, COUNT.redirectsReplayed);
    if (answer !== SEAL_OPENED) return this.#distrust(peer, COUNT.redirectsForged);
    this.count(peer, REDIRECTS_IN);
    this.at = header + geneve.SEALED_HEAD_BYTES;
    this.lengthBytes = tail - inner;
    return inner;
  }

  #distrust(peer: number, cell: number): number {
    count(this.#context.counters, cell);
    this.count(peer, REDIRECTS_REFUSED);
    return this.#refuse(DROP_REFUSED);
  }

  #refuse(verdict: number): number {
    this.verdict = verdict;
    return NOT_OPENED;
  }
}

/** Addresses the frame to a peer on the wire of a port, by which it came. False: the peer's address there is not known yet. */
export function readdress(context: EngineContext, packet: Packet, port: number, peer: PeerAddress): boolean {
  const mac = peer.zoneMac[port];
  if (mac === undefined || isUnknown(mac)) return false;
  const bytes = context.frames.bytes;
  setMac(bytes, packet.at, mac, 0);
  setMac(bytes, packet.at + MAC_BYTES, context.ports[port]!.mac, 0);
  return true;
}

/** Whether a frame on a zone's wire was sent by a peer: then it is a redirected one. */
export function isFromPeer(context: EngineContext, port: number, at: number): boolean {
  const { view, frames } = context;
  const peers = view.peers;
  for (let i = 0; i < peers.length; i++) {
    const mac = peers[i]?.zoneMac[port];
    if (mac !== undefined && isMac(frames.bytes, at + MAC_BYTES, mac, 0)) return true;
  }
  return false;
}

/** Node id of the peer with this address on the cluster link, or 0. */
function peerByClusterIp(context: EngineContext, address: number): number {
  const peers = context.view.peers;
  for (let i = 0; i < peers.length; i++) {
    const peer = peers[i];
    if (peer !== undefined && (peer.clusterIp | 0) === address) return peer.nodeId;
  }
  return 0;
}

function isUnknown(mac: Uint8Array): boolean {
  return (mac[0]! | mac[1]! | mac[2]! | mac[3]! | mac[4]! | mac[5]!) === 0;
}
