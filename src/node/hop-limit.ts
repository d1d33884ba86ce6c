/**
 * Hop limit: how far a heartbeat on the cluster link may have come (GTSM, RFC 5082). Members send with TTL 255, so what crossed a
 * router arrives with less. Nodes are one network; a witness may be `cluster.witnessHops` routers away. Pure.
 */
import { parseIpv4 } from "../policy/address.ts";
import { HEARTBEAT_TTL } from "./heartbeat-frames.ts";
import type { WorkerPeer } from "./worker-protocol.ts";

export class HopLimit {
  readonly #witnessHops: number;
  readonly #witnesses = new Set<number>();

  constructor(witnessHops: number, peers: readonly WorkerPeer[]) {
    this.#witnessHops = witnessHops;
    this.usePeers(peers);
  }

  usePeers(peers: readonly WorkerPeer[]): void {
    this.#witnesses.clear();
    for (const { role, address } of peers) {
      if (role === "witness") this.#witnesses.add(parseIpv4(address) ?? 0);
    }
  }

  /** `sender`: IPv4 address, unsigned. */
  allows(sender: number, ttl: number): boolean {
    if (ttl === HEARTBEAT_TTL) return true;
    return HEARTBEAT_TTL - ttl <= this.#witnessHops && this.#witnesses.has(sender);
  }
}
