/**
 * Trackers: what a packet does to the state of its flow, for all protocols, and how long the flow lives then. Owns
 * timeouts, UDP and ICMP states; TCP's are tcp-tracker.ts. ICMP errors never touch a flow's state.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ipv4.ts";
import { F_META, F_STATE, FLAG_REPLIED, ROW_WORDS } from "./flow-layout.ts";
import type { FlowTable } from "./flow-table.ts";
import type { Packet } from "./packet.ts";
import type { TimeoutsMs } from "./policy-model.ts";
import {
  beginTcp,
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
  TRACK_CHANGED,
  TRACK_SAME,
  tcpState,
  trackTcp,
} from "./tcp-tracker.ts";

const LIFE_UDP_UNREPLIED = TCP_STATES;
const LIFE_UDP_REPLIED = TCP_STATES + 1;
const LIFE_ICMP = TCP_STATES + 2;
const LIFE_OTHER = TCP_STATES + 3;
const LIVES = TCP_STATES + 4;

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
  lives[LIFE_ICMP] = timeouts.icmp;
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
      return (meta & FLAG_REPLIED) !== 0 ? LIFE_UDP_REPLIED : LIFE_UDP_UNREPLIED;
    case PROTOCOL_ICMP:
      return LIFE_ICMP;
    default:
      return LIFE_OTHER;
  }
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
  if (direction === 0) return TRACK_SAME;
  const meta = row * ROW_WORDS + F_META;
  if ((table.words[meta]! & FLAG_REPLIED) !== 0) return TRACK_SAME;
  table.words[meta] = table.words[meta]! | FLAG_REPLIED;
  return TRACK_CHANGED;
}
