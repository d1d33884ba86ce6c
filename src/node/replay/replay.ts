/**
 * Replay: runs captured packets through the real engine, in the capture's own time. Owns what is fed to the engine and what is
 * left out, the count of each, and which rule a packet's flow was let in by. Reading files and printing are the command's.
 */
import type { HashKey } from "../../base/hash.ts";
import type { FlowSnapshot } from "../../dataplane/flow-reader.ts";
import type { PolicyModel } from "../../dataplane/policy-model.ts";
import { dropVerdict, VERDICT_FORWARDED } from "../../dataplane/verdict.ts";
import { findPacket, isKnownLink } from "../../io/pcap/link.ts";
import type { CapturedPacket } from "../../io/pcap/reader.ts";
import { Ingress, type IngressRule } from "./ingress.ts";
import { type PacketView, viewPacket } from "./packet-view.ts";
import { type LeavingFrame, type Outcome, SingleWorld } from "./single-world.ts";

const ETHERNET_BYTES = 14;
/** Longer packets exist on hosts only, before the card cuts them. */
const PACKET_BYTES_MAX = 65_500;
const ICMPV6 = 58;
/** Timers run at most this often while packets come. */
const TICK_MS = 1;
const DROP_DENIED = dropVerdict("denied");
/** Name of what denies a packet that no rule matched. */
export const DEFAULT_RULE = "default";

export interface ReplayOptions {
  readonly policy: PolicyModel;
  readonly slots: number;
  readonly key: HashKey;
  readonly flowsMax: number;
  readonly mtuBytes: number;
  readonly ingress: IngressRule;
}

export interface LeavingPacket {
  /** Zone id. */
  readonly zone: number;
  readonly view: PacketView | undefined;
  readonly frame: Uint8Array;
}

export interface ReplayedPacket {
  /** Position in the capture, from 1. */
  readonly number: number;
  readonly timeMs: number;
  readonly zone: number;
  readonly view: PacketView;
  readonly verdict: number;
  /** The rule that decided, now or when the flow began; "" where none was asked. */
  readonly rule: string;
  readonly sent: readonly LeavingPacket[];
}

/** Why a captured packet is not given to the engine. */
export type SkipReason =
  | "link type not known"
  | "not IP"
  | "cut short before its addresses"
  | "neighbour discovery"
  | "not to the firewall"
  | "longer than any wire carries";

export interface ReplayCounts {
  read: number;
  replayed: number;
  /** Payload that the capture cut off was filled with zeros. */
  filled: number;
  readonly skipped: Map<SkipReason, number>;
  readonly verdicts: Map<number, number>;
  firstMs: number;
  lastMs: number;
}

export class Replay {
  readonly counts: ReplayCounts = {
    read: 0,
    replayed: 0,
    filled: 0,
    skipped: new Map(),
    verdicts: new Map(),
    firstMs: Number.NaN,
    lastMs: Number.NaN,
  };
  readonly #world: SingleWorld;
  readonly #ingress: Ingress;
  readonly #zoneOfPort: readonly number[];
  readonly #flowRules: FlowRules;

  constructor(options: ReplayOptions) {
    const { policy, ingress } = options;
    this.#world = new SingleWorld(options);
    this.#ingress = new Ingress(policy, ingress);
    this.#flowRules = new FlowRules(options.flowsMax);
    const zones: number[] = [];
    for (const zone of policy.zones) for (const port of zone.ports) zones[port] = zone.id;
    this.#zoneOfPort = zones;
  }

  /** Hits by rule, and of the default last. */
  get ruleHits(): Float64Array {
    return this.#world.ruleHits;
  }

  /** The time of the world: the latest of the capture. */
  get nowMs(): number {
    return this.#world.nowMs;
  }

  /** Feeds the next captured packet: what became of it, or undefined when it was left out (counted). */
  take(captured: CapturedPacket): ReplayedPacket | undefined {
    const { counts } = this;
    counts.read++;
    if (Number.isNaN(counts.firstMs)) counts.firstMs = captured.timeMs;
    counts.lastMs = captured.timeMs;
    const found = this.#find(captured);
    if (typeof found === "string") {
      counts.skipped.set(found, (counts.skipped.get(found) ?? 0) + 1);
      return undefined;
    }
    const { view, packet, zone, isGroup } = found;
    // Time never goes back, though packets of a capture may be out of order.
    if (captured.timeMs - this.#world.nowMs >= TICK_MS) this.#world.tick(captured.timeMs);
    const outcome = this.#world.process(this.#world.portOf(zone), packet, isGroup);
    counts.replayed++;
    counts.verdicts.set(outcome.verdict, (counts.verdicts.get(outcome.verdict) ?? 0) + 1);
    const sent = outcome.sent.map((frame) => this.#leaving(frame));
    return {
      number: counts.read,
      timeMs: captured.timeMs,
      zone,
      view,
      verdict: outcome.verdict,
      rule: this.#ruleOf(outcome, view, sent),
      sent,
    };
  }

  /** The flows at the end of the capture, at most `limit`, and how many there are. */
  flows(limit: number): { readonly flows: readonly FlowSnapshot[]; readonly total: number } {
    return this.#world.flows.list({}, limit);
  }

  /** The IP packet that the engine gets, or why it gets none. */
  #find(
    captured: CapturedPacket,
  ): { view: PacketView; packet: Uint8Array; zone: number; isGroup: boolean } | SkipReason {
    const { bytes, linkType, interfaceName } = captured;
    if (!isKnownLink(linkType)) return "link type not known";
    const { at, destinationMacAt } = findPacket(linkType, bytes);
    if (at < 0) return "not IP";
    const view = viewPacket(bytes, at);
    if (view === undefined) return "cut short before its addresses";
    if (
      view.protocol === ICMPV6 &&
      view.icmpType !== undefined &&
      view.icmpType >= 133 &&
      view.icmpType <= 137
    ) {
      return "neighbour discovery";
    }
    const destinationMac = destinationMacAt < 0 ? "" : macText(bytes, destinationMacAt);
    const zone = this.#ingress.zoneOf(view.source, { destinationMac, interfaceName });
    if (zone === undefined) return "not to the firewall";
    const onWireBytes = captured.originalBytes - at;
    const wantedBytes = Math.min(Math.max(view.totalBytes, bytes.length - at), onWireBytes);
    if (wantedBytes > PACKET_BYTES_MAX) return "longer than any wire carries";
    const isGroup = destinationMacAt >= 0 && (bytes[destinationMacAt]! & 1) !== 0;
    if (wantedBytes <= bytes.length - at) return { view, packet: bytes.subarray(at), zone, isGroup };
    this.counts.filled++;
    const packet = new Uint8Array(wantedBytes);
    packet.set(bytes.subarray(at));
    return { view, packet, zone, isGroup };
  }

  #leaving({ port, frame }: LeavingFrame): LeavingPacket {
    return { zone: this.#zoneOfPort[port] ?? -1, view: viewPacket(frame, ETHERNET_BYTES), frame };
  }

  #ruleOf(outcome: Outcome, view: PacketView, sent: readonly LeavingPacket[]): string {
    const { decision, verdict } = outcome;
    if (decision === undefined) {
      return verdict === DROP_DENIED ? DEFAULT_RULE : this.#flowRules.find(view);
    }
    const name = this.#world.policy.rules[decision.rule]!.name;
    const left = verdict === VERDICT_FORWARDED ? sent[0]?.view : undefined;
    if (left !== undefined) this.#flowRules.add(name, view, left);
    return name;
  }
}

/** Rules by the tuples under which packets of a flow arrive, in both directions. The oldest make room. */
class FlowRules {
  readonly #names = new Map<string, string>();
  readonly #max: number;

  constructor(flows: number) {
    this.#max = flows * 2;
  }

  add(name: string, arrived: PacketView, left: PacketView): void {
    this.#set(keyOf(arrived, false), name);
    this.#set(keyOf(left, true), name);
  }

  /** An error belongs to the flow of the datagram that it is about, and travels against it. */
  find(view: PacketView): string {
    const key = view.inner === undefined ? keyOf(view, false) : keyOf(view.inner, true);
    return this.#names.get(key) ?? "";
  }

  #set(key: string, name: string): void {
    this.#names.delete(key);
    this.#names.set(key, name);
    if (this.#names.size <= this.#max) return;
    for (const oldest of this.#names.keys()) {
      this.#names.delete(oldest);
      return;
    }
  }
}

function keyOf(view: PacketView, isTurned: boolean): string {
  const { source, destination, protocol, icmpId } = view;
  const ends = isTurned ? [destination, source] : [source, destination];
  if (icmpId !== undefined) return `${protocol} ${ends.join(" ")} ${icmpId}`;
  const { sourcePort = 0, destinationPort = 0 } = view;
  return `${protocol} ${ends.join(" ")} ${isTurned ? destinationPort : sourcePort} ${isTurned ? sourcePort : destinationPort}`;
}

function macText(bytes: Uint8Array, at: number): string {
  return Array.from(bytes.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
