/**
 * ARP answers: who answers for the cluster's addresses, and with which virtual MAC (RFC 826). Owns that rule, for neighbour
 * discovery too (ndp-answer.ts).
 *
 *   gateway of the zone     the owner of the asking host's slot, with that slot's virtual MAC
 *   pool and DNAT address   the owner of slot (index in the policy's list) mod slots, with that slot's virtual MAC
 *   this node's own address   this node, whoever owns what, with the port's MAC: to a probe (RFC 5227) only, which asks whether the
 *                           machine is there. Peers' answers to such probes of ours are left to the node
 *                           (node/peer-probe.ts)
 *
 * So with affinity `source` a host's packets arrive at its slot's owner at once, and replies to a pool address at its owner.
 */
import { ADDRESS_WORDS, isSameAddress, setIpv4 } from "../base/address.ts";
import * as arp from "../packet/arp.ts";
import { ETHERNET_BYTES, MAC_BYTES, padFrame, setMac } from "../packet/ethernet.ts";
import { SLOT_OWNED } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import { slotOfAddress } from "./slot.ts";
import { dropVerdict, VERDICT_ANSWERED, VERDICT_LOCAL } from "./verdict.ts";
import { virtualMac } from "./virtual-mac.ts";

const DROP_TRUNCATED = dropVerdict("truncated");
const DROP_ARP = dropVerdict("arp");
const DROP_TX_FULL = dropVerdict("tx_full");
export const NO_SLOT = -1;

/** Sender and target of the request in hand. */
const asked = new Int32Array(2 * ADDRESS_WORDS);
/** The virtual MAC of the answer in hand. */
const answering = new Uint8Array(MAC_BYTES);
const SENDER = 0;
const TARGET = ADDRESS_WORDS;

/** Serves an ARP frame from a zone: learns from it, answers it in place when it is ours to answer, else frees it. */
export function serveArp(
  context: EngineContext,
  egress: Egress,
  zone: number,
  port: number,
  at: number,
  lengthBytes: number,
): number {
  const { frames, policy } = context;
  const bytes = frames.bytes;
  const packet = at + ETHERNET_BYTES;
  if (lengthBytes < ETHERNET_BYTES + arp.ARP_BYTES) return drop(context, at, DROP_TRUNCATED);
  if (!arp.isEthernetIpv4(bytes, packet)) return drop(context, at, DROP_ARP);
  const sender = arp.senderIp(bytes, packet);
  const target = arp.targetIp(bytes, packet);
  setIpv4(asked, SENDER, sender);
  setIpv4(asked, TARGET, target);
  const isRequest = arp.operation(bytes, packet) === arp.ARP_REQUEST;
  if (sender === 0 && isRequest && target === (context.view.clusterIp | 0)) {
    return answer(context, egress, port, at, context.ports[port]!.mac);
  }
  if (target === 0 && !isRequest && isPeer(context, sender)) return VERDICT_LOCAL;
  if (sender !== 0 && (!policy.isOnLink(zone, asked, SENDER) || policy.isOwn(asked, SENDER)))
    return drop(context, at, DROP_ARP);
  const slot = isRequest && sender !== target ? slotAsked(context, zone, asked, SENDER, TARGET) : NO_SLOT;
  // A host that asks for us will send to us, and every node hears it: then the address is known after a takeover too.
  if (sender !== 0) egress.learn(zone, asked, SENDER, port, packet + arp.ARP_SENDER_MAC, slot !== NO_SLOT);
  if (slot === NO_SLOT || !isExclusive(context, slot)) return drop(context, at, DROP_ARP);
  virtualMac(zone, slot, answering, 0);
  return answer(context, egress, port, at, answering);
}

/** Turns the request at `at` into its answer, from `mac`. */
function answer(context: EngineContext, egress: Egress, port: number, at: number, mac: Uint8Array): number {
  const { bytes } = context.frames;
  const packet = at + ETHERNET_BYTES;
  const sender = arp.senderIp(bytes, packet);
  const target = arp.targetIp(bytes, packet);
  setMac(bytes, at, bytes, packet + arp.ARP_SENDER_MAC);
  setMac(bytes, at + MAC_BYTES, mac, 0);
  setMac(bytes, packet + arp.ARP_TARGET_MAC, bytes, packet + arp.ARP_SENDER_MAC);
  setMac(bytes, packet + arp.ARP_SENDER_MAC, mac, 0);
  arp.writeArp(bytes, packet, arp.ARP_REPLY, target, sender);
  const length = padFrame(bytes, at, ETHERNET_BYTES + arp.ARP_BYTES);
  if (!egress.emit(port, at, length)) return DROP_TX_FULL;
  count(context.counters, COUNT.arpAnswered);
  return VERDICT_ANSWERED;
}

/** Another node's own address, on the cluster link. */
function isPeer({ view }: EngineContext, address: number): boolean {
  for (const peer of view.peers) if (peer !== undefined && (peer.clusterIp | 0) === address) return true;
  return false;
}

/** Whether this node may act exclusively in a slot now: it owns the slot and its lease runs, by the clock as it is now. */
export function isExclusive(context: EngineContext, slot: number): boolean {
  const { view } = context;
  return view.state[slot] === SLOT_OWNED && context.nowMs() < view.leaseUntilMs[0]!;
}

/**
 * The slot whose owner answers `words[sender]` that asks for `words[target]`, or NO_SLOT when that address is not the cluster's in
 * this zone. For both families.
 */
export function slotAsked(
  context: EngineContext,
  zone: number,
  words: Int32Array,
  sender: number,
  target: number,
): number {
  const { policy, view, key } = context;
  const gateway = zone * ADDRESS_WORDS;
  const isGateway =
    isSameAddress(words, target, policy.gateway4, gateway) ||
    isSameAddress(words, target, policy.gateway6, gateway) ||
    isSameAddress(words, target, policy.linkLocal, gateway);
  if (isGateway) return slotOfAddress(key, view.slots, words, sender);
  const index = policy.answered.get(words, target);
  if (index < 0 || policy.answeredZone[index] !== zone) return NO_SLOT;
  return index & (view.slots - 1);
}

function drop(context: EngineContext, at: number, verdict: number): number {
  context.frames.free(at);
  return verdict;
}
