/**
 * Redirect: carries a frame to another node: in GENEVE over the cluster link, or unchanged over the wire it came from.
 * Owns both encapsulations; who the owner is, and whether to redirect at all, is decided elsewhere.
 *
 *   | Ethernet 14 | IPv4 20 | UDP 8 | GENEVE 8 | option 12 | the frame as it arrived
 *   ^ at - 62: written into the headroom                     ^ at
 */

import { ETHER_IPV4, ETHERNET_BYTES, isMac, MAC_BYTES, setEtherType, setMac } from "../packet/ethernet.ts";
import * as geneve from "../packet/geneve.ts";
import { IPV4_BYTES, PROTOCOL_UDP, writeHeader } from "../packet/ipv4.ts";
import * as udp from "../packet/udp.ts";
import type { PeerAddress } from "./cluster-view.ts";
import type { EngineContext } from "./context.ts";
import { P_SOURCE, type Packet } from "./packet.ts";

/** Bytes before the redirected frame. */
export const REDIRECT_BYTES = ETHERNET_BYTES + IPV4_BYTES + udp.UDP_BYTES + geneve.GENEVE_HEADER_BYTES;
const TTL = 64;
/** Source ports carry entropy for the switches (RFC 8926 section 3.3), from the dynamic range. */
const ENTROPY_PORT = 49_152;

/** Wraps the packet's frame for a peer and returns its new length, which begins at `packet.at - REDIRECT_BYTES`. */
export function encapsulate(
  context: EngineContext,
  packet: Packet,
  peer: PeerAddress,
  clusterPort: number,
  slot: number,
  isToMeet: boolean,
): number {
  const { frames, view, ports } = context;
  const bytes = frames.bytes;
  const at = packet.at - REDIRECT_BYTES;
  const ip = at + ETHERNET_BYTES;
  const total = REDIRECT_BYTES - ETHERNET_BYTES + packet.lengthBytes;
  setMac(bytes, at, peer.clusterMac, 0);
  setMac(bytes, at + MAC_BYTES, ports[clusterPort]!.mac, 0);
  setEtherType(bytes, at, ETHER_IPV4);
  writeHeader(bytes, ip, total, TTL, PROTOCOL_UDP, view.clusterIp | 0, peer.clusterIp | 0);
  const entropy =
    ENTROPY_PORT | ((packet.sourcePort ^ packet.destinationPort ^ packet.words[P_SOURCE + 3]!) & 0x3fff);
  udp.writeHeader(bytes, ip + IPV4_BYTES, entropy, geneve.GENEVE_PORT, total - IPV4_BYTES);
  geneve.write(bytes, ip + IPV4_BYTES + udp.UDP_BYTES, packet.zone, packet.port, slot, view.epoch, isToMeet);
  return packet.lengthBytes + REDIRECT_BYTES;
}

/** Addresses the frame to a peer on the wire it came from. False: the peer's address there is not known yet. */
export function readdress(context: EngineContext, packet: Packet, peer: PeerAddress): boolean {
  const mac = peer.zoneMac[packet.port];
  if (mac === undefined || isUnknown(mac)) return false;
  const bytes = context.frames.bytes;
  setMac(bytes, packet.at, mac, 0);
  setMac(bytes, packet.at + MAC_BYTES, context.ports[packet.port]!.mac, 0);
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
export function peerByClusterIp(context: EngineContext, address: number): number {
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
