import { describe, expect, test } from "vitest";
import {
  PEER_ALIVE,
  PEER_LATE,
  PEER_NARROW,
  PEER_ON_CLUSTER_LINK,
  SLOT_HANDOVER,
  SLOT_OWNED,
  SLOT_REMOTE,
  SLOT_TAKEOVER,
} from "../../../src/dataplane/cluster-view.ts";
import {
  REPLICA_BARRIER,
  REPLICA_DIGEST_BAD,
  REPLICA_DIGEST_OK,
  REPLICA_NO_ROOM,
} from "../../../src/dataplane/replica.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { macText, see, tcp, udp, words } from "./frames.ts";
import { Pair, SLOTS } from "./pair.ts";
import {
  LAB_POLICY,
  PORT_CLUSTER,
  PORT_INSIDE,
  PORT_OUTSIDE,
  TEST_KEY,
  verdictName,
  World,
} from "./world.ts";

const SERVER = "198.51.100.100";

/** A client whose slot is even (node 1) or odd (node 2). */
function clientOf(node: number): string {
  for (let i = 2; ; i++) {
    if (slotOfAddress(TEST_KEY, SLOTS, words(`10.10.0.${i}`), 0) % 2 === (node === 1 ? 0 : 1))
      return `10.10.0.${i}`;
  }
}

const C1 = clientOf(1);
const C2 = clientOf(2);
const ask = (from: string, sport = 4000) => udp({ from, to: SERVER, sport, dport: 53 });

/** Sends a first packet at its owner, settles, and returns what left. */
function open(pair: Pair, world: World, from: string, sport = 4000) {
  world.packet(PORT_INSIDE, ask(from, sport));
  pair.settle();
  const { ip: seen } = see(world.takeOne().frame);
  return seen!;
}

describe("redirect", () => {
  test("a packet of another node's slot travels in GENEVE and is decided there (RFC 8926)", () => {
    const pair = new Pair();
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C2)))).toBe("redirected");
    const { port, frame } = pair.one.takeOne();
    expect(port).toBe(PORT_CLUSTER);
    const outer = see(frame);
    expect([outer.ip!.from, outer.ip!.to, outer.ip!.dport, outer.ip!.headerOk]).toEqual([
      "172.16.0.1",
      "172.16.0.2",
      6081,
      true,
    ]);
    pair.two.receive(PORT_CLUSTER, frame);
    pair.settle();
    const left = pair.two.takeOne();
    expect(left.port).toBe(PORT_OUTSIDE);
    expect(see(left.frame).ip!.bodyOk).toBe(true);
    expect([pair.one.table.used, pair.two.table.used]).toEqual([1, 1]);
    expect(pair.two.count("redirectsIn")).toBe(1);
  });

  test("without the cluster link the frame goes back onto its wire, addressed to the owner", () => {
    const pair = new Pair();
    pair.one.view.peerFlags[2] = PEER_ALIVE;
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C2)))).toBe("redirected");
    const { port, frame } = pair.one.takeOne();
    expect(port).toBe(PORT_INSIDE);
    const seen = see(frame);
    expect([seen.destinationMac, seen.sourceMac]).toEqual([
      macText(pair.two.ports[PORT_INSIDE]!.mac),
      macText(pair.one.ports[PORT_INSIDE]!.mac),
    ]);
    expect(seen.ip!.ttl).toBe(64);
    pair.two.receive(PORT_INSIDE, frame);
    pair.settle();
    expect(pair.two.takeOne().port).toBe(PORT_OUTSIDE);
    expect(pair.two.count("redirectsZoneIn")).toBe(1);
  });

  test.each([
    ["late", PEER_LATE],
    ["narrow", PEER_NARROW],
  ])("over a cluster link that is %s a peer is not sent to while there is another way", (_what, flag) => {
    const pair = new Pair();
    pair.one.view.peerFlags[2] = PEER_ALIVE | PEER_ON_CLUSTER_LINK | flag;
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C2)))).toBe("redirected");
    expect(pair.one.takeOne().port).toBe(PORT_INSIDE);
    expect([pair.one.count("redirectsOut"), pair.one.count("redirectsZoneOut")]).toEqual([0, 1]);
    pair.one.view.peers[2]!.zoneMac[PORT_INSIDE]!.fill(0);
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C2)))).toBe("redirected");
    expect(pair.one.takeOne().port).toBe(PORT_CLUSTER);
  });

  test("a packet that does not fit into the cluster link goes over the zone, and is too big when there is no other way", () => {
    const big = (sport: number) =>
      udp({ from: C2, to: SERVER, sport, dport: 53, payload: new Uint8Array(1472) });
    const pair = new Pair();
    Object.assign(pair.one.ports[PORT_CLUSTER]!, { mtuBytes: 1500 });
    expect(verdictName(pair.one.packet(PORT_INSIDE, big(1)))).toBe("redirected");
    expect(pair.one.takeOne().port).toBe(PORT_INSIDE);
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C2)))).toBe("redirected");
    expect(pair.one.takeOne().port).toBe(PORT_CLUSTER);
    pair.one.view.peers[2]!.zoneMac[PORT_INSIDE]!.fill(0);
    expect(verdictName(pair.one.packet(PORT_INSIDE, big(2)))).toBe("too_big");
    expect(pair.one.lost()).toBe(0);
  });

  test("a peer whose address on the wire is not known yet is not sent to", () => {
    const pair = new Pair();
    pair.one.view.peerFlags[2] = PEER_ALIVE;
    pair.one.view.peers[2]!.zoneMac[PORT_INSIDE]!.fill(0);
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C2)))).toBe("held");
    expect(pair.one.take()).toEqual([]);
  });

  test("a packet is redirected once at most", () => {
    const pair = new Pair();
    pair.one.packet(PORT_INSIDE, ask(C2));
    const { frame } = pair.one.takeOne();
    // Node 2 believes that node 1 owns everything.
    for (let slot = 0; slot < SLOTS; slot++) {
      pair.two.view.owner[slot] = 1;
      pair.two.view.state[slot] = 0;
    }
    expect(verdictName(pair.two.receive(PORT_CLUSTER, frame))).toBe("redirected_twice");
    expect(pair.two.lost()).toBe(0);
  });

  test("a redirect from a node that knows a newer table waits for that table", () => {
    const pair = new Pair();
    pair.one.view.epoch = 2;
    pair.one.view.owner.fill(2, 0, SLOTS);
    pair.one.view.state.fill(0, 0, SLOTS);
    pair.one.packet(PORT_INSIDE, ask(C1));
    expect(verdictName(pair.two.receive(PORT_CLUSTER, pair.one.takeOne().frame))).toBe("held");
    pair.assign(2, () => 2);
    pair.settle();
    expect(pair.two.takeOne().port).toBe(PORT_OUTSIDE);
  });

  test("GENEVE from an address that is no peer's is dropped", () => {
    const pair = new Pair();
    pair.one.packet(PORT_INSIDE, ask(C2));
    const { frame } = pair.one.takeOne();
    frame[29] = 77;
    expect(verdictName(pair.two.receive(PORT_CLUSTER, frame))).toBe("bad_source");
  });

  test("a reply that reaches the wrong node finds the owner by its port alone", () => {
    const pair = new Pair();
    pair.one.packet(PORT_INSIDE, ask(C1));
    // The record is not applied yet at node 2: it knows nothing but the packet.
    pair.one.tick(6);
    const sent = see(pair.one.take().find((s) => s.port === PORT_OUTSIDE && see(s.frame).ip)!.frame).ip!;
    expect(pair.two.table.used).toBe(0);
    const reply = udp({ from: SERVER, to: sent.from, sport: 53, dport: sent.sport });
    expect(verdictName(pair.two.packet(PORT_OUTSIDE, reply))).toBe("redirected");
    pair.carry(pair.two);
    expect(see(pair.one.takeOne().frame).ip!.to).toBe(C1);
  });
});

describe("commit", () => {
  test("the first packet of a translated flow waits until the backup applied its record", () => {
    const pair = new Pair();
    pair.one.packet(PORT_INSIDE, ask(C1));
    expect(pair.one.take()).toEqual([]);
    expect(pair.one.count("heldNow")).toBe(1);
    pair.replicate(pair.one);
    expect(pair.two.table.used).toBe(1);
    pair.acknowledge(pair.one);
    expect(pair.one.takeOne().port).toBe(PORT_OUTSIDE);
    expect([pair.one.count("heldNow"), pair.one.count("heldCommitted")]).toEqual([0, 1]);
  });

  test("while the slot changes its backup it waits for both, unless one is not heard", () => {
    const pair = new Pair();
    pair.one.view.coBackup.fill(3);
    pair.one.view.peerFlags[3] = PEER_ALIVE;
    pair.one.packet(PORT_INSIDE, ask(C1));
    pair.replicate(pair.one);
    pair.acknowledge(pair.one);
    expect(pair.one.take()).toEqual([]);
    pair.one.view.ackedSequence[3] = pair.one.view.ackedSequence[2]!;
    pair.acknowledge(pair.one);
    expect(pair.one.takeOne().port).toBe(PORT_OUTSIDE);
    expect(pair.one.count("heldCommitted")).toBe(1);

    pair.one.view.peerFlags[3] = 0;
    pair.one.packet(PORT_INSIDE, ask(C1, 40_001));
    pair.replicate(pair.one);
    pair.acknowledge(pair.one);
    expect(pair.one.count("heldCommitted")).toBe(2);
  });

  test("packets that follow the first wait behind it, so the order stays", () => {
    const pair = new Pair();
    for (let i = 0; i < 4; i++) {
      pair.one.packet(
        PORT_INSIDE,
        udp({ from: C1, to: SERVER, sport: 1, dport: 2, payload: Uint8Array.of(i) }),
      );
    }
    pair.settle();
    expect(pair.one.take().map(({ frame }) => see(frame).ip!.body[8])).toEqual([0, 1, 2, 3]);
    expect(verdictName(pair.one.packet(PORT_INSIDE, udp({ from: C1, to: SERVER, sport: 1, dport: 2 })))).toBe(
      "forwarded",
    );
  });

  test("after the deadline it goes on and is counted as unprotected", () => {
    const pair = new Pair();
    pair.one.packet(PORT_INSIDE, ask(C1));
    pair.one.tick(4);
    expect(pair.one.count("heldNow")).toBe(1);
    pair.one.tick(2);
    expect(pair.one.count("unprotectedDeadline")).toBe(1);
    expect(pair.one.count("heldNow")).toBe(0);
  });

  test("when too many wait already it goes on at once and is counted", () => {
    const pair = new Pair(LAB_POLICY, { heldFramesMax: 2 });
    open(pair, pair.one, C1);
    for (let sport = 1; sport <= 4; sport++) pair.one.packet(PORT_INSIDE, ask(C1, sport));
    expect(pair.one.take().length).toBe(2);
    expect([pair.one.count("unprotectedHoldFull"), pair.one.count("heldNow")]).toEqual([2, 2]);
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C1, 4)))).toBe("forwarded");
    expect(pair.one.count("unprotectedHoldFull")).toBe(2);
    pair.settle();
    expect([pair.one.count("heldCommitted"), pair.one.lost()]).toEqual([3, 0]);
  });

  test("without a living backup it goes at once and is counted", () => {
    const pair = new Pair();
    pair.one.view.peerFlags[2] = 0;
    pair.one.packet(PORT_INSIDE, ask(C1));
    expect(pair.one.takeOne().port).toBe(PORT_OUTSIDE);
    expect(pair.one.count("unprotectedNoPeer")).toBe(1);
  });
});

describe("a dead owner", () => {
  test("packets of its flows are forwarded from the replica before anything is decided", () => {
    const pair = new Pair();
    const sent = open(pair, pair.one, C1);
    pair.two.view.peerFlags[1] = 0;
    const reply = udp({ from: SERVER, to: sent.from, sport: 53, dport: sent.sport });
    expect(["forwarded_shared", "held"]).toContain(verdictName(pair.two.packet(PORT_OUTSIDE, reply)));
    expect(see(pair.two.takeOne().frame).ip!.to).toBe(C1);
    expect(verdictName(pair.two.packet(PORT_OUTSIDE, reply))).toBe("forwarded_shared");
  });

  test("packets of new flows wait for the takeover and then go, in order", () => {
    const pair = new Pair();
    pair.two.view.peerFlags[1] = 0;
    for (let sport = 1; sport <= 3; sport++) {
      expect(verdictName(pair.two.packet(PORT_INSIDE, ask(C1, sport)))).toBe("held");
    }
    pair.setForeign(pair.two, SLOT_TAKEOVER);
    pair.two.engine.slotsChanged(pair.two.nowMs);
    expect(pair.two.count("holdNow")).toBe(3);
    expect(pair.two.table.used).toBe(0);
    pair.assign(2, () => 2);
    expect(pair.two.count("holdNow")).toBe(0);
    expect(pair.two.table.used).toBe(3);
    expect(pair.two.lost()).toBe(0);
  });

  test("when nobody takes over in time, what waited is dropped as no_owner", () => {
    const pair = new Pair();
    pair.two.view.peerFlags[1] = 0;
    pair.two.packet(PORT_INSIDE, ask(C1));
    pair.two.tick(401);
    expect(pair.two.count("holdNow")).toBe(0);
    expect(pair.two.lost()).toBe(0);
  });

  test("an established TCP connection goes on at the backup, its windows seeded anew", () => {
    const pair = new Pair();
    const client = { from: C1, to: SERVER, sport: 5000, dport: 80 };
    pair.one.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100 }));
    pair.settle();
    const { from, sport } = see(pair.one.takeOne().frame).ip!;
    const server = { from: SERVER, to: from, sport: 80, dport: sport };
    pair.one.packet(PORT_OUTSIDE, tcp({ ...server, flags: "SA", seq: 900, ack: 101 }));
    pair.one.packet(PORT_INSIDE, tcp({ ...client, flags: "A", seq: 101, ack: 901 }));
    pair.settle();
    pair.two.view.peerFlags[1] = 0;
    pair.assign(2, () => 2);
    // 100,000 bytes went by that the backup never heard of.
    const far = tcp({ ...client, flags: "A", seq: 100_101, ack: 901 });
    expect(["forwarded", "held"]).toContain(verdictName(pair.two.packet(PORT_INSIDE, far)));
    pair.settle();
    expect(pair.two.count("windowReseeded")).toBe(1);
    const answer = tcp({ ...server, flags: "A", seq: 901, ack: 100_101 });
    expect(["forwarded", "held"]).toContain(verdictName(pair.two.packet(PORT_OUTSIDE, answer)));
    const forged = tcp({ ...server, flags: "R", seq: 500_000_000 });
    expect(verdictName(pair.two.packet(PORT_OUTSIDE, forged))).toBe("out_of_window");
  });

  test("replicas do not expire by themselves, and end after the takeover with what was left", () => {
    const pair = new Pair();
    open(pair, pair.one, C1);
    pair.two.view.peerFlags[1] = 0;
    pair.two.tick(60_000);
    expect(pair.two.table.used).toBe(1);
    pair.assign(2, () => 2);
    pair.two.tick(10_040);
    expect(pair.two.table.used).toBe(0);
  });
});

describe("a dead owner, for a node that is not its backup", () => {
  /** Node 3 owned everything and is dead to node 1; node 2 is its backup, and has heard nothing yet. */
  function afterDeath(): Pair {
    const pair = new Pair();
    for (const { view } of pair.worlds) {
      view.owner.fill(3, 0, SLOTS);
      view.backup.fill(2, 0, SLOTS);
      view.state.fill(SLOT_REMOTE, 0, SLOTS);
    }
    pair.two.view.peerFlags[3] = PEER_ALIVE;
    return pair;
  }

  test("packets go to the backup, which alone has the flows, before anything is decided", () => {
    const pair = afterDeath();
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C1)))).toBe("redirected");
    const { port, frame } = pair.one.takeOne();
    expect([port, see(frame).ip!.to]).toEqual([PORT_CLUSTER, "172.16.0.2"]);
  });

  test("the backup keeps what it does not know until the slot is its own, also when it has not noticed the death", () => {
    const pair = afterDeath();
    pair.one.packet(PORT_INSIDE, ask(C1));
    expect(verdictName(pair.two.receive(PORT_CLUSTER, pair.one.takeOne().frame))).toBe("held");
    pair.setForeign(pair.two, SLOT_TAKEOVER);
    pair.two.engine.slotsChanged(pair.two.nowMs);
    expect(pair.two.count("holdNow")).toBe(1);
    pair.assign(2, () => 2);
    pair.settle();
    expect(pair.two.takeOne().port).toBe(PORT_OUTSIDE);
    expect(pair.two.lost()).toBe(0);
  });
});

describe("a fenced owner", () => {
  test("forwards known flows and decides nothing", () => {
    const pair = new Pair();
    open(pair, pair.one, C1);
    pair.one.view.leaseUntilMs[0] = pair.one.nowMs;
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C1)))).toBe("forwarded_shared");
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask(C1, 4001)))).toBe("fenced");
    pair.one.tick(60_000);
    expect(pair.one.table.used).toBe(1);
  });
});

test("a thread that stood still between taking the time and deciding knows that its lease ended", () => {
  let pausedMs = 0;
  const world: World = new World({ clock: () => world.nowMs + pausedMs });
  world.view.leaseUntilMs[0] = world.nowMs + 60;
  // Held for its neighbour, and then gone.
  expect(verdictName(world.packet(PORT_INSIDE, ask(C1)))).toBe("held");
  pausedMs = 61;
  expect(verdictName(world.packet(PORT_INSIDE, ask(C1, 4001)))).toBe("fenced");
  expect(verdictName(world.packet(PORT_INSIDE, ask(C1)))).toBe("forwarded");
});

describe("packets that passed without being tracked", () => {
  const CLIENT = { from: C1, to: SERVER, sport: 4000, dport: 80 };

  class Connection {
    readonly world = new World();
    #nat = "";
    #port = 0;

    constructor() {
      this.client({ flags: "S", seq: 1000 });
      const { ip: seen } = see(this.world.takeOne().frame);
      this.#nat = seen!.from;
      this.#port = seen!.sport;
    }

    client(part: { flags: string; seq: number; ack?: number; payload?: Uint8Array }): string {
      return verdictName(this.world.packet(PORT_INSIDE, tcp({ ...CLIENT, ...part })));
    }

    server(part: { flags: string; seq: number; ack?: number; payload?: Uint8Array }): string {
      const ends = { from: SERVER, to: this.#nat, sport: 80, dport: this.#port };
      return verdictName(this.world.packet(PORT_OUTSIDE, tcp({ ...ends, ...part })));
    }

    /** What `lose` sends passes while the lease is out. */
    fenced(expected: string, lose: () => string): void {
      const { leaseUntilMs } = this.world.view;
      const until = leaseUntilMs[0]!;
      leaseUntilMs[0] = this.world.nowMs;
      expect(lose()).toBe(expected);
      leaseUntilMs[0] = until;
    }
  }

  test("while the lease was out do not end a handshake", () => {
    const connection = new Connection();
    // The client's address must be asked for first.
    connection.fenced("held", () => connection.server({ flags: "SA", seq: 5000, ack: 1001 }));
    expect(connection.client({ flags: "A", seq: 1001, ack: 5001 })).toBe("forwarded");
    expect(connection.server({ flags: "A", seq: 5001, ack: 1001, payload: new Uint8Array(100) })).toBe(
      "forwarded",
    );
  });

  test("while the lease was out do not end a connection", () => {
    const connection = new Connection();
    connection.server({ flags: "SA", seq: 5000, ack: 1001 });
    connection.client({ flags: "A", seq: 1001, ack: 5001 });
    connection.fenced("forwarded_shared", () =>
      connection.server({ flags: "A", seq: 5001, ack: 1001, payload: new Uint8Array(1000) }),
    );
    expect(connection.client({ flags: "A", seq: 1001, ack: 6001 })).toBe("forwarded");
    expect(connection.client({ flags: "A", seq: 900_000, ack: 6001 })).toBe("out_of_window");
  });

  test.each([
    ["once the slot is announced again", "announceSlots"],
    ["once it is heard again", "slotsUnseen"],
  ] as const)("through a node that thought this one dead do not end a connection, %s", (_when, told) => {
    const connection = new Connection();
    expect(connection.client({ flags: "A", seq: 1001, ack: 5001 })).toBe("invalid_state");
    connection.world.engine[told]([...Array(64).keys()]);
    expect(connection.client({ flags: "A", seq: 1001, ack: 5001 })).toBe("forwarded");
  });
});

describe("a planned move", () => {
  test("packets wait at the new owner until the barrier, then all go in order", () => {
    const pair = new Pair();
    const sent = open(pair, pair.one, C1);
    pair.setForeign(pair.two, SLOT_HANDOVER);
    for (let i = 0; i < 3; i++) {
      const reply = udp({
        from: SERVER,
        to: sent.from,
        sport: 53,
        dport: sent.sport,
        payload: Uint8Array.of(i),
      });
      expect(verdictName(pair.two.packet(PORT_OUTSIDE, reply))).toBe("held");
    }
    expect(pair.two.take()).toEqual([]);
    pair.assign(2, () => 2);
    expect(pair.two.take().map(({ frame }) => see(frame).ip!.body[8])).toEqual([0, 1, 2]);
    expect(pair.two.lost()).toBe(0);
  });

  test("when the barrier does not come, known flows are forwarded and unknown packets dropped", () => {
    const pair = new Pair();
    const sent = open(pair, pair.one, C1);
    pair.setForeign(pair.two, SLOT_HANDOVER);
    pair.two.packet(PORT_OUTSIDE, udp({ from: SERVER, to: sent.from, sport: 53, dport: sent.sport }));
    pair.two.packet(PORT_INSIDE, ask(C1, 9));
    pair.two.tick(51);
    expect(see(pair.two.takeOne().frame).ip!.to).toBe(C1);
    expect(pair.two.count("holdNow")).toBe(0);
    expect(pair.two.lost()).toBe(0);
  });
});

test("a copy that finds the table full is refused, told apart from one that is not believed, and counted", () => {
  const pair = new Pair();
  const { table } = pair.two;
  while (table.alloc() !== -1);
  pair.one.packet(PORT_INSIDE, ask(C1));
  expect(pair.replicate(pair.one)).toEqual([REPLICA_NO_ROOM]);
  expect(pair.two.count("replicasRefused")).toBe(1);
});

describe("a move while changes had no room in the ring", () => {
  const RING = 16;
  const FLOWS = 3 * RING;

  test("the barrier follows all of them", () => {
    const pair = new Pair(undefined, {}, RING);
    for (let i = 0; i < FLOWS; i++) pair.one.packet(PORT_INSIDE, ask(C1, 1000 + i));
    const slot = slotOfAddress(TEST_KEY, SLOTS, words(C1), 0);
    expect(pair.one.count("changesRefused")).toBeGreaterThan(0);
    pair.assign(2, () => 2);
    pair.two.view.state.fill(SLOT_HANDOVER);
    const statuses: number[] = [];
    let isPublished = false;
    for (let turn = 0; turn < FLOWS && !isPublished; turn++) {
      isPublished = pair.one.engine.publishBarrier(slot, 2);
      pair.one.tick();
      statuses.push(...pair.replicate(pair.one));
    }
    while (pair.one.engine.exportStep(RING, pair.one.nowMs)) statuses.push(...pair.replicate(pair.one));
    statuses.push(...pair.replicate(pair.one));
    expect(statuses).toContain(REPLICA_BARRIER);
    expect(pair.two.table.used).toBe(FLOWS);
    expect(statuses.at(-1)).toBe(REPLICA_DIGEST_OK);
    expect(pair.one.engine.book.dirtyCount).toBe(0);
  });

  test("a slot that nobody waits for is not sent", () => {
    const pair = new Pair(undefined, {}, RING);
    for (let i = 0; i < FLOWS; i++) pair.one.packet(PORT_INSIDE, ask(C1, 1000 + i));
    pair.assign(2, () => 2);
    pair.replicate(pair.one);
    pair.one.tick();
    expect(pair.replicate(pair.one)).toEqual([]);
    expect(pair.one.engine.book.dirtyCount).toBe(0);
  });
});

describe("snapshots and digests", () => {
  test("a node that knows nothing has everything after the export, and the digests agree", () => {
    const pair = new Pair();
    for (let i = 0; i < 50; i++) pair.one.packet(PORT_INSIDE, ask(C1, 1000 + i));
    // The peer was away: its records are gone.
    pair.one.ring!.release(pair.one.ring!.length());
    const slot = slotOfAddress(TEST_KEY, SLOTS, words(C1), 0);
    pair.one.engine.publishDigest(slot);
    expect(pair.replicate(pair.one)).toEqual([REPLICA_DIGEST_BAD]);
    pair.one.engine.exportSlot(slot);
    let steps = 0;
    const statuses: number[] = [];
    while (pair.one.engine.exportStep(8, pair.one.nowMs)) {
      steps++;
      statuses.push(...pair.replicate(pair.one));
    }
    statuses.push(...pair.replicate(pair.one));
    expect(steps).toBeGreaterThan(4);
    expect(statuses.at(-1)).toBe(REPLICA_DIGEST_OK);
    expect(pair.two.table.used).toBe(50);
  });

  test("while the reader holds back what can wait, a snapshot stands still and changes go on", () => {
    const pair = new Pair();
    for (let i = 0; i < 20; i++) pair.one.packet(PORT_INSIDE, ask(C1, 1000 + i));
    pair.replicate(pair.one);
    const ring = pair.one.ring!;
    const slot = slotOfAddress(TEST_KEY, SLOTS, words(C1), 0);
    pair.one.engine.exportSlot(slot);
    expect(pair.one.engine.exportStep(5, pair.one.nowMs)).toBe(true);
    const begun = ring.length();
    expect(begun).toBeGreaterThan(2);
    ring.holdBack(true);
    expect(pair.one.engine.exportStep(5, pair.one.nowMs)).toBe(true);
    pair.one.tick();
    expect(ring.length()).toBe(begun);
    pair.one.packet(PORT_INSIDE, ask(C1, 7001));
    expect(ring.length()).toBe(begun + 1);
    ring.holdBack(false);
    while (pair.one.engine.exportStep(5, pair.one.nowMs));
    expect(pair.replicate(pair.one).at(-1)).toBe(REPLICA_DIGEST_OK);
    expect(pair.two.table.used).toBe(21);
  });

  test("a snapshot removes what the owner does not have, also while live changes run", () => {
    const pair = new Pair();
    for (let i = 0; i < 20; i++) open(pair, pair.one, C1, 1000 + i);
    const slot = slotOfAddress(TEST_KEY, SLOTS, words(C1), 0);
    // The owner forgets ten flows without saying so; two more come while the snapshot runs.
    pair.one.view.backup.fill(0);
    pair.one.tick(9_000);
    for (let i = 0; i < 10; i++) pair.one.packet(PORT_INSIDE, ask(C1, 1000 + i));
    pair.one.tick(2_000);
    expect(pair.one.table.used).toBe(10);
    pair.one.view.backup.fill(2, 0, SLOTS);
    pair.one.engine.exportSlot(slot);
    pair.one.engine.exportStep(5, pair.one.nowMs);
    pair.one.packet(PORT_INSIDE, ask(C1, 7001));
    pair.one.packet(PORT_INSIDE, ask(C1, 7002));
    while (pair.one.engine.exportStep(5, pair.one.nowMs));
    const statuses = pair.replicate(pair.one);
    expect(statuses.at(-1)).toBe(REPLICA_DIGEST_OK);
    expect([pair.one.table.used, pair.two.table.used]).toEqual([12, 12]);
  });

  test("a full ring marks the slot, and the slot is sent again by itself", () => {
    const pair = new Pair(undefined, {}, 16);
    for (let i = 0; i < 40; i++) pair.one.packet(PORT_INSIDE, ask(C1, 1000 + i));
    expect(pair.one.count("changesRefused")).toBe(24);
    const statuses: number[] = [];
    for (let i = 0; i < 20; i++) {
      statuses.push(...pair.replicate(pair.one));
      pair.one.tick();
    }
    statuses.push(...pair.replicate(pair.one));
    expect(pair.two.table.used).toBe(40);
    expect(statuses.at(-1)).toBe(REPLICA_DIGEST_OK);
  });

  test("a node refuses records of slots that it owns", () => {
    const pair = new Pair();
    open(pair, pair.one, C1);
    pair.setForeign(pair.two, SLOT_OWNED);
    pair.one.packet(PORT_INSIDE, ask(C1, 4001));
    expect(pair.replicate(pair.one)).toEqual([2]);
    expect(pair.two.count("replicasRefused")).toBe(1);
  });
});
