/**
 * Assurance: which rows are sure to belong to somebody who wants them. Owns that rule for all of the defence: half-open
 * connections, shrinking time-outs, victims of early drops.
 *
 *   assured     TCP from ESTABLISHED to LAST_ACK; any other protocol but ICMP once a reply was seen
 *   unassured   TCP before that (its source may be forged) and after it (nothing is left to lose); no reply yet; ICMP
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../../packet/ipv4.ts";
import { F_META, FLAG_REPLIED, ROW_WORDS } from "../flow-layout.ts";
import { isSatellite } from "../satellites.ts";
import { TCP_ESTABLISHED, TCP_LAST_ACK, TCP_SYN_RECEIVED, TCP_SYN_SENT, tcpState } from "../tcp-state.ts";

/** Whether both ends have shown that they want the flow, and it is not over. A satellite lives as long as its connection. */
export function isAssured(words: Int32Array, row: number): boolean {
  const meta = words[row * ROW_WORDS + F_META]!;
  const protocol = meta & 0xff;
  if (protocol === PROTOCOL_TCP) {
    const state = tcpState(words, row);
    return state >= TCP_ESTABLISHED && state <= TCP_LAST_ACK;
  }
  if (protocol === PROTOCOL_ICMP) return false;
  if (isSatellite(protocol)) return true;
  return (meta & FLAG_REPLIED) !== 0;
}

/** Whether the row is a TCP connection whose handshake is not over. */
export function isHalfOpen(words: Int32Array, row: number): boolean {
  if ((words[row * ROW_WORDS + F_META]! & 0xff) !== PROTOCOL_TCP) return false;
  const state = tcpState(words, row);
  return state === TCP_SYN_SENT || state === TCP_SYN_RECEIVED;
}
