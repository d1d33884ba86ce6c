/**
 * Firewall: what is compared. Two zones, one packet at a time, one answer.
 */
export interface Firewall {
  /** Whether an IP packet that comes from inside (or outside) leaves on the other side. */
  send(isFromInside: boolean, packet: Uint8Array): boolean;
  /** Tracked connections of a host, in words, for people. */
  stateOf(address: string): string;
  close(): void;
}
