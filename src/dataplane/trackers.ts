/**
 * Trackers: what a packet does to the state of its flow, for all protocols, and how long the flow lives then. Owns
 * timeouts, UDP and ICMP states; TCP's are tcp-tracker.ts. ICMP errors never touch a flow's state.
 */
import {
  PROTOCOL_ESP,
  PROTOCOL_GRE,
  PROTOCOL_ICMP,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "../packet/ipv4.ts";
import { F_META, F_STATE, FLAG_REPLIED, ROW_WORDS } from "./flow-layout.ts";
import type { FlowTable } from "./flow-table.ts";
import type { Packet } from "./packet.ts";
import type { TimeoutsMs } from "./policy-model.ts";
import { isSatellite } from "./satellites.ts";
import {
  TCP_CLOSE_WAIT,
  TCP_CLOSED,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT,
  TCP_LAST_ACK,
  TCP_NONE,
  TCP_STATES,
  TCP_SYN_RECEIVED,
  TCP_SYN_SENT,
  TCP_TIME_WAIT,
  tcpState,
} from "./tcp-state.ts";
import { beginTcp, TRACK_CHANGED, TRACK_SAME, trackTcp } from "./tcp-tracker.ts";

const LIFE_UDP_UNREPLIED = TCP_STATES;
const LIFE_UDP_REPLIED = TCP_STATES + 1;
const LIFE_UDP_STREAM = TCP_STATES + 2;
const LIFE_ICMP = TCP_STATES + 3;
const LIFE_OTHER_UNREPLIED = TCP_STATES + 4;
const LIFE_SCTP = TCP_STATES + 5;
const LIFE_GRE = TCP_STATES + 6;
const LIFE_ESP = TCP_STATES + 7;
const LIFE_OTHER = TCP_STATES + 8;
const LIVES = TCP_STATES + 9;

/** F_STATE of all but TCP: packets from the side that opened the flow since it was answered; a stream has STREAM_PACKETS. */
const STREAM_PACKETS = 2;

/** By life (a TCP state, or LIFE_*): milliseconds. */
export function lifetimes(timeouts: TimeoutsMs): Float64Array {
  const lives = new Float64Array(LIVES);
  lives[TCP_NONE] = timeouts.tcpClose;
  lives[TCP_SYN_SENT] = timeouts.tcpSynSent;
  lives[TCP_SYN_RECEIVED] = timeouts.tcpSynReceived;
  lives[TCP_ESTABLISHED] = timeouts.tcpEstablished;
  lives[TCP_FIN_WAIT] = timeouts.tcpFinWait;
  lives[TCP_CLOSE_WAIT] = timeouts.tcpCloseWait;
  lives[TCP_LAST_ACK] = timeouts.tcpLastAck;
  lives[TCP_TIME_WAIT] = timeouts.tcpTimeWait;
  lives[TCP_CLOSED] = timeouts.tcpClose;
  lives[LIFE_UDP_UNREPLIED] = timeouts.udpUnreplied;
  lives[LIFE_UDP_REPLIED] = timeouts.udpReplied;
  lives[LIFE_UDP_STREAM] = timeouts.udpStream ?? timeouts.udpReplied;
  lives[LIFE_ICMP] = timeouts.icmp;
  lives[LIFE_OTHER_UNREPLIED] = timeouts.otherUnreplied ?? timeouts.other;
  lives[LIFE_SCTP] = timeouts.sctp ?? timeouts.other;
  lives[LIFE_GRE] = timeouts.gre ?? timeouts.other;
  lives[LIFE_ESP] = timeouts.esp ?? timeouts.other;
  lives[LIFE_OTHER] = timeouts.other;
  return lives;
}

/** Which life a row leads now: an index into lifetimes(). */
export function lifeOf(words: Int32Array, row: number): number {
  const meta = words[row * ROW_WORDS + F_META]!;
  switch (meta & 0xff) {
    case PROTOCOL_TCP: {
      const state = tcpState(words, row);
      return state < TCP_STATES ? state : TCP_CLOSED;
    }
    case PROTOCOL_UDP:
      if ((meta & FLAG_REPLIED) === 0) return LIFE_UDP_UNREPLIED;
      return words[row * ROW_WORDS + F_STATE]! >= STREAM_PACKETS ? LIFE_UDP_STREAM : LIFE_UDP_REPLIED;
    case PROTOCOL_ICMP:
      return LIFE_ICMP;
    default:
      return lifeOfOther(meta);
  }
}

/** Protocols that are tracked by addresses alone, and satellites, whose owners set their deadlines themselves. */
function lifeOfOther(meta: number): number {
  const protocol = meta & 0xff;
  if (isSatellite(protocol)) return LIFE_OTHER;
  if ((meta & FLAG_REPLIED) === 0) return LIFE_OTHER_UNREPLIED;
  if (protocol === PROTOCOL_SCTP) return LIFE_SCTP;
  if (protocol === PROTOCOL_GRE) return LIFE_GRE;
  return protocol === PROTOCOL_ESP ? LIFE_ESP : LIFE_OTHER;
}

/** Sets up a new row from its first packet. */
export function beginTracking(table: FlowTable, row: number, packet: Packet, bytes: Uint8Array): void {
  if (packet.protocol === PROTOCOL_TCP) beginTcp(table, row, bytes, packet.l4At, packet.l4Bytes);
  else table.words[row * ROW_WORDS + F_STATE] = 0;
}

/** Judges the next packet of a flow and moves its state on: TRACK_*. Not for ICMP errors. */
export function track(
  table: FlowTable,
  row: number,
  direction: number,
  packet: Packet,
  bytes: Uint8Array,
): number {
  if (packet.protocol === PROTOCOL_TCP) {
    return trackTcp(table, row, direction, bytes, packet.l4At, packet.l4Bytes);
  }
  const meta = row * ROW_WORDS + F_META;
  const isReplied = (table.words[meta]! & FLAG_REPLIED) !== 0;
  if (direction === 0) return isReplied && packet.protocol === PROTOCOL_UDP ? stream(table, row) : TRACK_SAME;
  if (isReplied) return TRACK_SAME;
  table.words[meta] = table.words[meta]! | FLAG_REPLIED;
  return TRACK_CHANGED;
}

/** A packet that goes on after an answer: a question and its answer become a stream (what conntrack calls assured). */
function stream(table: FlowTable, row: number): number {
  const state = row * ROW_WORDS + F_STATE;
  const packets = table.words[state]!;
  if (packets >= STREAM_PACKETS) return TRACK_SAME;
  table.words[state] = packets + 1;
  return packets + 1 === STREAM_PACKETS ? TRACK_CHANGED : TRACK_SAME;
}
