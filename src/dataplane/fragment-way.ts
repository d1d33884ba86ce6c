/**
 * Fragment way: how fragments pass the firewall. Owns their meeting point, what becomes of a datagram once all of it is there,
 * and its time-out; collecting is fragments.ts, the decision about the first fragment the decider's, as for a whole packet.
 *
 *   fragment -> addresses -> meeting point: ours? --no--> redirect to it (once)
 *                                            | yes
 *                                          Fragments --whole--> first: decided; the others follow it
 */
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import { FragmentInfo, readFragment } from "../packet/fragment.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import { judgeAddresses } from "./address-rules.ts";
import { SLOT_OWNED } from "./cluster-view.ts";
import { count, type EngineContext } from "./context.ts";
import type { Decider } from "./decider.ts";
import { NONE } from "./flow-layout.ts";
import { type Forwarder, OURS } from "./forwarder.ts";
import type { FragmentLimits } from "./fragment-limits.ts";
import { meetingSlot } from "./fragment-meeting.ts";
import { COMPLETE, Fragments, wrongFragment } from "./fragments.ts";
import { DIRECT, PARSED, type Packet } from "./packet.ts";
import { dropVerdict, VERDICT_DROP_BASE, VERDICT_HELD, VERDICT_REDIRECTED } from "./verdict.ts";
import type { Waiting } from "./waiting.ts";

const DROP_TIMEOUT = dropVerdict("fragment_timeout");
/** "Fragment reassembly time exceeded" (RFC 792, RFC 4443 section 3.3). */
const CODE_REASSEMBLY = 1;

export class FragmentWay {
  readonly #context: EngineContext;
  readonly #packet: Packet;
  readonly #decider: Decider;
  readonly #forwarder: Forwarder;
  readonly #waiting: Waiting;
  readonly #fragments: Fragments;
  readonly #info = new FragmentInfo();

  constructor(
    context: EngineContext,
    packet: Packet,
    decider: Decider,
    forwarder: Forwarder,
    waiting: Waiting,
    limits: FragmentLimits,
  ) {
    this.#context = context;
    this.#packet = packet;
    this.#decider = decider;
    this.#forwarder = forwarder;
    this.#waiting = waiting;
    this.#fragments = new Fragments(context, limits);
  }

  /** Takes the fragment in hand, which parse() found to be one: a verdict. */
  arrive(): number {
    const packet = this.#packet;
    const info = this.#info;
    const bytes = this.#context.frames.bytes;
    const ipAt = packet.at + ETHERNET_BYTES;
    const wrong = wrongFragment(readFragment(bytes, ipAt, packet.lengthBytes - ETHERNET_BYTES, info));
    if (wrong !== 0) return this.#forwarder.drop(packet.at, wrong);
    packet.takeFragment(info);
    const bad = judgeAddresses(this.#context.policy, packet);
    if (bad !== PARSED) return this.#forwarder.drop(packet.at, bad);
    if (packet.way === DIRECT) {
      const sent = this.#toMeetingPoint();
      if (sent !== OURS) return sent;
    }
    const { at, lengthBytes, port, zone, way, wayEpoch } = packet;
    const answer = this.#fragments.add(info, at, lengthBytes, port, zone, way, wayEpoch);
    return answer === COMPLETE ? this.#goOn() : answer;
  }

  /** Datagrams are not whole yet. */
  get isBusy(): boolean {
    return this.#fragments.used > 0;
  }

  /** Ends datagrams that did not become whole in time; the sender of one that we would carry is told. */
  tick(): void {
    const fragments = this.#fragments;
    const { counters } = this.#context;
    while (fragments.takeExpired()) {
      this.#load();
      // Only for a flow that is known: an answer to anything else would tell scanners that somebody is there.
      const verdict = this.#isRead() && this.#decider.isKnown() ? this.#tell() : this.#giveUp();
      count(counters, verdict);
    }
  }

  #tell(): number {
    const type = this.#packet.isIpv6 ? icmpv6.ICMPV6_TIME_EXCEEDED : icmp.ICMP_TIME_EXCEEDED;
    return this.#forwarder.answerError(DROP_TIMEOUT, type, CODE_REASSEMBLY, 0);
  }

  #giveUp(): number {
    return this.#forwarder.drop(this.#packet.at, DROP_TIMEOUT);
  }

  /** Sends the fragment to the node where its others go as well: a verdict, or OURS when that is here or out of reach. */
  #toMeetingPoint(): number {
    const { view, key } = this.#context;
    const known = this.#decider.slotByAddresses();
    const slot = known === NONE ? meetingSlot(key, view.slots, this.#info) : known;
    return view.state[slot] === SLOT_OWNED ? OURS : this.#forwarder.redirectToMeet(slot);
  }

  /** A datagram is whole: its first fragment is decided, and the others do what it did. The verdict is the last one's. */
  #goOn(): number {
    const fragments = this.#fragments;
    const { counters } = this.#context;
    const forwarder = this.#forwarder;
    fragments.take();
    this.#load();
    forwarder.leftRow = NONE;
    let wrong = this.#readFirst();
    const first = wrong === PARSED ? this.#decider.decide() : forwarder.drop(this.#packet.at, wrong);
    const row = forwarder.leftRow;
    let verdict = first;
    while (fragments.take()) {
      count(counters, verdict);
      this.#load();
      wrong = this.#read();
      verdict = wrong === PARSED ? this.#follow(first, row) : forwarder.drop(this.#packet.at, wrong);
    }
    return verdict;
  }

  /** What the first fragment did, for another one. */
  #follow(first: number, row: number): number {
    const packet = this.#packet;
    const forwarder = this.#forwarder;
    if (row !== NONE) return forwarder.leaveRest(row, forwarder.leftDirection);
    if (first === VERDICT_REDIRECTED) {
      const sent = forwarder.redirect(forwarder.redirectedSlot);
      return sent === OURS ? forwarder.drop(packet.at, DROP_TIMEOUT) : sent;
    }
    if (first === VERDICT_HELD) return this.#waiting.forSlot(packet, this.#waiting.lastList);
    return forwarder.drop(packet.at, first < VERDICT_DROP_BASE ? DROP_TIMEOUT : first);
  }

  /** Makes the frame that Fragments handed out the packet in hand. */
  #load(): void {
    const fragments = this.#fragments;
    const packet = this.#packet;
    packet.at = fragments.at;
    packet.lengthBytes = fragments.lengthBytes;
    packet.port = fragments.port;
    packet.zone = fragments.zone;
    packet.way = fragments.way;
    packet.wayEpoch = fragments.wayEpoch;
  }

  #read(): number {
    const packet = this.#packet;
    const bytes = this.#context.frames.bytes;
    const available = packet.lengthBytes - ETHERNET_BYTES;
    const wrong = wrongFragment(readFragment(bytes, packet.at + ETHERNET_BYTES, available, this.#info));
    if (wrong === 0) packet.takeFragment(this.#info);
    return wrong;
  }

  #readFirst(): number {
    const wrong = this.#read();
    if (wrong !== PARSED) return wrong;
    const { bytes } = this.#context.frames;
    return this.#packet.takeFirstFragment(bytes, this.#info, this.#fragments.datagramBytes);
  }

  #isRead(): boolean {
    const wrong = this.#read();
    if (wrong !== PARSED) return false;
    return this.#packet.takeFirstFragment(this.#context.frames.bytes, this.#info, 0xffff) === PARSED;
  }
}
