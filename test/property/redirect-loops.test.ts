import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { seededRandom } from "../../src/base/env.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_ON_CLUSTER_LINK,
  SLOT_HANDOVER,
  SLOT_OWNED,
  SLOT_REMOTE,
  standaloneView,
} from "../../src/dataplane/cluster-view.ts";
import { Packet } from "../../src/dataplane/packet.ts";
import { ip, ipv4, mac, see, tcp, udp } from "../unit/dataplane/frames.ts";
import { PORT_CLUSTER, PORT_INSIDE, PORT_OUTSIDE, World } from "../unit/dataplane/world.ts";

const NODES = 4;
const SLOTS = 16;
const SERVER = "198.51.100.100";

function viewOf(selfId: number): ClusterView {
  const view = standaloneView(SLOTS, selfId);
  const peers = Array.from({ length: NODES + 1 }, (_, nodeId) =>
    nodeId === 0 || nodeId === selfId
      ? undefined
      : {
          nodeId,
          clusterIp: ip(`172.16.0.${nodeId}`),
          clusterMac: mac(`02:00:00:00:0${nodeId}:02`),
          zoneMac: [new Uint8Array(6), new Uint8Array(6), new Uint8Array(6)],
        },
  );
  view.peerFlags.fill(PEER_ALIVE | PEER_ON_CLUSTER_LINK, 1, NODES + 1);
  return { ...view, clusterIp: ip(`172.16.0.${selfId}`), peers };
}

/** Four nodes, each with a table of its own. */
class Four {
  readonly worlds = Array.from(
    { length: NODES },
    (_, i) => new World({ view: viewOf(i + 1), ringRecords: 1024, seed: i + 1 }),
  );

  /** What node `id` believes: owners by slot, in an epoch. */
  believe(id: number, epoch: number, owner: (slot: number) => number, isMoving = false): void {
    const { view, engine, nowMs } = this.worlds[id - 1]!;
    view.epoch = epoch;
    for (let slot = 0; slot < SLOTS; slot++) {
      view.owner[slot] = owner(slot);
      view.backup[slot] = (owner(slot) % NODES) + 1;
      const owned = isMoving ? SLOT_HANDOVER : SLOT_OWNED;
      view.state[slot] = view.owner[slot] === id ? owned : SLOT_REMOTE;
    }
    engine.slotsChanged(nowMs);
  }

  /** Carries what goes over the cluster link until nothing does: how often, and what left by zones, at whom. */
  carry(hopsMax: number): { hops: number; leftAt: number[] } {
    let hops = 0;
    const leftAt: number[] = [];
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const [i, world] of this.worlds.entries()) {
        for (const { port, frame } of world.take()) {
          if (port !== PORT_CLUSTER) {
            leftAt.push(i + 1);
            continue;
          }
          const to = Number(see(frame).ip!.to.split(".")[3]);
          hops++;
          isMore = true;
          if (hops > hopsMax) return { hops, leftAt };
          this.worlds[to - 1]!.receive(PORT_CLUSTER, frame);
        }
      }
    }
    return { hops, leftAt };
  }
}

type Sample = { seed: number; at: number; kind: number; host: number };
const sample: fc.Arbitrary<Sample> = fc.record({
  seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  at: fc.integer({ min: 1, max: NODES }),
  kind: fc.integer({ min: 0, max: 3 }),
  host: fc.integer({ min: 2, max: 200 }),
});

/** A packet of some kind: where it arrives, and as what. */
function packetOf({ kind, host, seed }: Sample): [port: number, packet: Uint8Array] {
  const from = `10.10.0.${host}`;
  const sport = 1024 + (seed % 60_000);
  if (kind === 0) return [PORT_INSIDE, udp({ from, to: SERVER, sport, dport: 53 })];
  if (kind === 1) return [PORT_INSIDE, tcp({ from, to: SERVER, sport, dport: 80, flags: "S" })];
  // To the pool: a reply of nobody's flow, as after a takeover.
  if (kind === 2) return [PORT_OUTSIDE, udp({ from: SERVER, to: "198.51.100.10", sport: 53, dport: sport })];
  // The first fragment of a datagram: it goes to where its others meet.
  const first = ipv4(17, { from, to: SERVER }, new Uint8Array(64));
  new DataView(first.buffer).setUint16(6, 0x2000);
  return [PORT_INSIDE, withChecksum(first)];
}

function withChecksum(packet: Uint8Array): Uint8Array {
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return packet;
}

function hopsMaxOf({ kind }: Sample): number {
  return kind === 3 ? 3 : 2;
}

/** Hops of one packet among nodes whose tables differ, until newer ones have reached all; it stops beyond what is allowed. */
function hopsOf(drawn: Sample): number {
  const four = new Four();
  const random = seededRandom(drawn.seed);
  for (let id = 1; id <= NODES; id++) {
    four.believe(id, 1 + random(3), () => 1 + random(NODES), random(4) === 0);
  }
  const hopsMax = hopsMaxOf(drawn);
  const [port, packet] = packetOf(drawn);
  four.worlds[drawn.at - 1]!.packet(port, packet);
  let hops = four.carry(hopsMax + 1).hops;
  // What waited is looked at again when newer tables arrive, one after the other.
  for (let id = 1; id <= NODES && hops <= hopsMax; id++) {
    four.believe(id, 9, (slot) => 1 + (slot % NODES));
    hops += four.carry(hopsMax + 1).hops;
  }
  return hops;
}

describe("redirects among four nodes", () => {
  test("no packet goes round, however much the nodes' tables differ: two hops, a fragment three", () => {
    let longest = 0;
    const within = (drawn: Sample): boolean => {
      const hops = hopsOf(drawn);
      longest = Math.max(longest, hops);
      return hops <= hopsMaxOf(drawn);
    };
    fc.assert(fc.property(sample, within), { numRuns: 60 });
    expect(longest).toBeGreaterThan(0);
  });

  test("if a redirected packet could be redirected again, some would go round", () => {
    const spy = vi.spyOn(Packet.prototype, "mayRedirect", "get").mockReturnValue(true);
    try {
      const isWithin = (drawn: Sample): boolean => hopsOf(drawn) <= hopsMaxOf(drawn);
      expect(fc.check(fc.property(sample, isWithin), { numRuns: 60, endOnFailure: true }).failed).toBe(true);
    } finally {
      spy.mockRestore();
    }
  });

  test("when the tables agree every packet is decided by its owner, one hop away at most", () => {
    const owners = new Set<number>();
    fc.assert(
      fc.property(sample, (drawn) => {
        fc.pre(drawn.kind < 2);
        const four = new Four();
        for (let id = 1; id <= NODES; id++) {
          four.believe(id, 5, (slot) => 1 + (slot % NODES));
          four.worlds[id - 1]!.view.backup.fill(0);
        }
        const [port, packet] = packetOf(drawn);
        four.worlds[drawn.at - 1]!.packet(port, packet);
        const { hops } = four.carry(2);
        const holders = four.worlds.filter((world) => world.table.used > 0).map((world) => world.view.selfId);
        expect(hops).toBeLessThanOrEqual(1);
        expect(holders).toHaveLength(1);
        expect(hops === 0).toBe(holders[0] === drawn.at);
        owners.add(holders[0]!);
      }),
      { numRuns: 40 },
    );
    expect(owners.size).toBe(NODES);
  });
});
