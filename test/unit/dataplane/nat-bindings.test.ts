/** Endpoint-independent mapping and filtering: RFC 4787 REQ-1, REQ-5, REQ-6, REQ-8; RFC 5382 REQ-1, REQ-3; RFC 7857. */
import { describe, expect, test } from "vitest";
import { OP_UPSERT, RECORD_BYTES, RECORD_OP_AT } from "../../../src/base/record.ts";
import type { PolicyModel, SnatModel } from "../../../src/dataplane/policy-model.ts";
import { echo, icmpError, ip, ipv4, see, seeIp, tcp, udp } from "./frames.ts";
import { CLIENT, entry, natPolicy, natWorld, OTHER_SERVER, POOL, pass, SERVER } from "./nat-worlds.ts";
import { Pair } from "./pair.ts";
import {
  INSIDE,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  rule,
  TIMEOUTS,
  verdictName,
  type World,
} from "./world.ts";

const STRANGER = "203.0.113.77";
const MINUTE_MS = 60_000;

function policy(part: Partial<SnatModel> = {}, rest: Partial<PolicyModel> = {}): PolicyModel {
  return natPolicy({ snat: [entry({ isEndpointIndependent: true, ...part })], ...rest });
}

const outwards = { fromZone: INSIDE, toZone: OUTSIDE };
const OPEN = { isFilteringIndependent: true };

/** The outside port of a client's UDP port, asked towards a server. */
function portOf(world: World, sport: number, to = SERVER, from = CLIENT): number {
  return pass(world, PORT_INSIDE, udp({ from, to, sport, dport: 53 })).sport;
}

function call(dport: number, from = STRANGER): Uint8Array {
  return udp({ from, to: POOL, sport: 999, dport });
}

describe("mapping", () => {
  test("one inside endpoint has one outside endpoint towards everybody, for UDP, TCP and ICMP", () => {
    const world = natWorld(policy());
    for (const to of [SERVER, OTHER_SERVER, STRANGER])
      expect(portOf(world, 5000, to)).toBe(portOf(world, 5000));
    const open = (to: string, dport: number) =>
      pass(world, PORT_INSIDE, tcp({ from: CLIENT, to, sport: 5000, dport, flags: "S" })).sport;
    expect(open(SERVER, 80)).toBe(open(OTHER_SERVER, 443));
    const ask = (to: string) => pass(world, PORT_INSIDE, echo({ from: CLIENT, to, id: 7 })).sport;
    expect(ask(SERVER)).toBe(ask(OTHER_SERVER));
  });

  test("two inside endpoints never have the same outside endpoint, whoever they talk to (no port overloading)", () => {
    const world = natWorld(policy());
    const ports = Array.from({ length: 300 }, (_, i) =>
      portOf(world, 2000 + i, i % 2 === 0 ? SERVER : OTHER_SERVER),
    );
    expect(new Set(ports).size).toBe(300);
  });

  test("a host that uses one port towards two zones has an address of each zone's pool", () => {
    const world = natWorld(
      policy(
        {},
        { snat: [entry({ isEndpointIndependent: true }), entry({ toZone: 7, pool: [ip("192.0.2.1")] })] },
      ),
    );
    expect(pass(world, PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 1, dport: 2 })).from).toBe(POOL);
  });

  test("an address of one source is the same for all its ports, also when slots move (RFC 4787 REQ-2)", () => {
    const pool = [10, 11, 12, 13].map((host) => ip(`198.51.100.${host}`));
    const world = natWorld(
      policy({ pool }, { answered: pool.map((address) => ({ zone: OUTSIDE, address })) }),
    );
    const from = (sport: number) =>
      pass(world, PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport, dport: 1 })).from;
    const first = from(1000);
    world.view.owner.fill(2);
    expect(Array.from({ length: 50 }, (_, i) => from(2000 + i)).every((address) => address === first)).toBe(
      true,
    );
  });

  test("entries of both kinds that share an address divide its ports", () => {
    const world = natWorld(
      natPolicy({
        snat: [entry({ isEndpointIndependent: true, sources: [{ address: ip(CLIENT), bits: 32 }] }), entry()],
      }),
    );
    const independent = Array.from({ length: 40 }, (_, i) => portOf(world, 2000 + i));
    const dependent = Array.from({ length: 40 }, (_, i) => portOf(world, 2000 + i, SERVER, "10.10.0.3"));
    expect(Math.min(...independent)).toBeGreaterThan(33_279);
    expect(Math.max(...dependent)).toBeLessThanOrEqual(33_279);
  });

  test("a binding whose address is in no pool any more is replaced, and its flows go on", () => {
    const world = natWorld(policy());
    const before = pass(world, PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
    world.engine.usePolicy(policy({ pool: [ip("198.51.100.11")] }), new Float64Array(2));
    const after = pass(world, PORT_INSIDE, udp({ from: CLIENT, to: OTHER_SERVER, sport: 5000, dport: 53 }));
    expect([before.from, after.from]).toEqual([POOL, "198.51.100.11"]);
    const old = pass(world, PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
    expect([old.from, old.sport]).toEqual([POOL, before.sport]);
  });
});

describe("filtering", () => {
  test("endpoint-independent: anybody outside may send to a mapped port, without a rule", () => {
    const world = natWorld(policy(OPEN));
    const port = portOf(world, 5000);
    expect(pass(world, PORT_OUTSIDE, call(port))).toMatchObject({ from: STRANGER, to: CLIENT, dport: 5000 });
    const answer = pass(world, PORT_INSIDE, udp({ from: CLIENT, to: STRANGER, sport: 5000, dport: 999 }));
    expect(answer).toMatchObject({ from: POOL, to: STRANGER, sport: port });
  });

  test("and a TCP connection from outside is tracked like any other (RFC 5382 REQ-2)", () => {
    const world = natWorld(policy(OPEN));
    const port = pass(
      world,
      PORT_INSIDE,
      tcp({ from: CLIENT, to: SERVER, sport: 5000, dport: 80, flags: "S" }),
    ).sport;
    const syn = tcp({ from: STRANGER, to: POOL, sport: 999, dport: port, flags: "S", seq: 10 });
    expect(pass(world, PORT_OUTSIDE, syn)).toMatchObject({ to: CLIENT, dport: 5000, flags: "S" });
    const synAck = { from: CLIENT, to: STRANGER, sport: 5000, dport: 999, flags: "SA", seq: 70, ack: 11 };
    expect(pass(world, PORT_INSIDE, tcp(synAck))).toMatchObject({ from: POOL, sport: port, flags: "SA" });
    const stray = tcp({ from: "203.0.113.78", to: POOL, sport: 9, dport: port, flags: "A" });
    expect(verdictName(world.packet(PORT_OUTSIDE, stray))).toBe("invalid_state");
  });

  describe("under another policy", () => {
    const toDns = { ...outwards, protocol: 17, destinationPorts: [{ from: 53, to: 53 }] };

    function use(world: World, next: PolicyModel): void {
      world.engine.usePolicy(next, new Float64Array(next.rules.length + 1));
    }

    test("that filters, a mapped port is closed to strangers, to those as well who came in before", () => {
      const world = natWorld(policy(OPEN));
      const port = portOf(world, 5000);
      expect(pass(world, PORT_OUTSIDE, call(port))).toMatchObject({ to: CLIENT });
      use(world, policy());
      expect(verdictName(world.packet(PORT_OUTSIDE, call(port, "203.0.113.78")))).toBe("bad_destination");
      expect(verdictName(world.packet(PORT_OUTSIDE, call(port)))).toBe("denied");
      expect(verdictName(world.packet(PORT_OUTSIDE, call(port)))).toBe("bad_destination");
      expect(portOf(world, 5000, OTHER_SERVER)).toBe(port);
    });

    test("that filters no more, a mapped port opens", () => {
      const world = natWorld(policy());
      const port = portOf(world, 5000);
      use(world, policy(OPEN));
      expect(pass(world, PORT_OUTSIDE, call(port))).toMatchObject({ to: CLIENT, dport: 5000 });
    });

    test("that lets the host out no more, nobody gets in, whether he came before or not", () => {
      const world = natWorld(policy(OPEN));
      const port = portOf(world, 5000);
      expect(pass(world, PORT_OUTSIDE, call(port))).toMatchObject({ to: CLIENT });
      use(world, policy(OPEN, { rules: [] }));
      expect(verdictName(world.packet(PORT_OUTSIDE, call(port, "203.0.113.78")))).toBe("denied");
      expect(verdictName(world.packet(PORT_OUTSIDE, call(port)))).toBe("denied");
    });

    test("that lets the host go where it went, everybody still gets in (RFC 4787 REQ-8)", () => {
      const world = natWorld(policy(OPEN));
      const port = portOf(world, 5000);
      expect(pass(world, PORT_OUTSIDE, call(port))).toMatchObject({ to: CLIENT });
      use(world, policy(OPEN, { rules: [rule(0, toDns)] }));
      expect(pass(world, PORT_OUTSIDE, call(port, "203.0.113.78"))).toMatchObject({ to: CLIENT });
      expect(pass(world, PORT_OUTSIDE, call(port))).toMatchObject({ to: CLIENT });
    });

    test("and on a backup that takes over, too", () => {
      const pair = new Pair(policy(OPEN));
      pair.assign(2, () => 1);
      pair.one.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
      pair.settle();
      const port = see(pair.one.take().at(-1)!.frame).ip!.sport;
      const reaches = (from: string): boolean => {
        pair.two.take();
        pair.two.packet(PORT_OUTSIDE, call(port, from));
        pair.settle();
        return pair.two.take().some(({ frame }) => see(frame).ip?.to === CLIENT);
      };
      pair.assign(3, () => 2);
      use(pair.two, policy(OPEN, { rules: [rule(0, toDns)] }));
      expect(reaches(STRANGER)).toBe(true);
      use(pair.two, policy(OPEN, { rules: [] }));
      expect([reaches(STRANGER), reaches("203.0.113.78")]).toEqual([false, false]);
    });
  });

  test("endpoint-dependent: only who was sent to, with this port, may answer", () => {
    const world = natWorld(policy());
    const port = portOf(world, 5000);
    expect(verdictName(world.packet(PORT_OUTSIDE, call(port)))).toBe("bad_destination");
    const otherPort = udp({ from: SERVER, to: POOL, sport: 54, dport: port });
    expect(verdictName(world.packet(PORT_OUTSIDE, otherPort))).toBe("bad_destination");
  });

  test("a port that is not mapped is closed", () => {
    const world = natWorld(policy(OPEN));
    const port = portOf(world, 5000);
    expect(verdictName(world.packet(PORT_OUTSIDE, call(port ^ 2)))).toBe("bad_destination");
    expect(world.table.used).toBe(2);
  });

  test("two endpoints outside that sent to each other first meet (simultaneous open, RFC 5382 REQ-2)", () => {
    const world = natWorld(policy());
    const syn = { from: CLIENT, to: SERVER, sport: 5000, dport: 80, flags: "S", seq: 1 };
    const { sport } = pass(world, PORT_INSIDE, tcp(syn));
    const theirs = tcp({ from: SERVER, to: POOL, sport: 80, dport: sport, flags: "S", seq: 90 });
    expect(pass(world, PORT_OUTSIDE, theirs)).toMatchObject({ to: CLIENT, dport: 5000, flags: "S" });
  });
});

describe("time (RFC 4787 REQ-5, REQ-6)", () => {
  const silent = {
    timeoutsMs: { ...TIMEOUTS, udpUnreplied: 10_000, udpReplied: 30_000, tcpEstablished: 7_440_000 },
  };

  test("a mapping outlives its last flow: not gone after four minutes, gone after five", () => {
    const world = natWorld(policy({}, silent));
    const port = portOf(world, 5000);
    world.tick(4 * MINUTE_MS);
    expect(world.table.used).toBe(1);
    expect(portOf(world, 5000)).toBe(port);
    world.tick(10_100);
    for (let i = 0; i < 6; i++) world.tick(MINUTE_MS);
    expect(world.table.used).toBe(0);
  });

  test("what the inside host sends refreshes it, however long it goes on", () => {
    const world = natWorld(policy({}, silent));
    const port = portOf(world, 5000);
    for (let i = 0; i < 90; i++) {
      world.tick(8000);
      expect(portOf(world, 5000)).toBe(port);
    }
    world.tick(4 * MINUTE_MS - 8000);
    expect(world.table.used).toBe(1);
  });

  test("what comes from outside and is refused does not (RFC 7857 section 7)", () => {
    const world = natWorld(policy({}, silent));
    const port = portOf(world, 5000);
    for (let i = 0; i < 32; i++) {
      world.tick(10_000);
      expect(verdictName(world.packet(PORT_OUTSIDE, call(port)))).toBe("bad_destination");
    }
    expect(world.table.used).toBe(0);
  });

  test("ICMP errors do not (RFC 5508 REQ-6, RFC 7857 section 7.1)", () => {
    const world = natWorld(policy({}, silent));
    const out = pass(world, PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
    const about = ipv4(17, { from: POOL, to: SERVER }, out.body);
    world.tick(9000);
    pass(world, PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 3, 3, about));
    world.tick(1100);
    expect(world.count("flowsUdpNow")).toBe(0);
    expect(world.table.used).toBe(1);
  });

  test("a mapping of a silent TCP connection stays as long as the connection", () => {
    const world = natWorld(policy({}, silent));
    const open = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    const { sport } = pass(world, PORT_INSIDE, tcp({ ...open, flags: "S", seq: 1 }));
    const back = { from: SERVER, to: POOL, sport: 80, dport: sport };
    pass(world, PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 50, ack: 2 }));
    pass(world, PORT_INSIDE, tcp({ ...open, flags: "A", seq: 2, ack: 51 }));
    for (let i = 0; i < 60; i++) world.tick(2 * MINUTE_MS);
    expect(world.table.used).toBe(2);
    expect(pass(world, PORT_OUTSIDE, tcp({ ...back, flags: "A", seq: 51, ack: 2 }))).toMatchObject({
      dport: 5000,
    });
    const other = { from: CLIENT, to: OTHER_SERVER, sport: 5000, dport: 80, flags: "S" };
    expect(pass(world, PORT_INSIDE, tcp(other)).sport).toBe(sport);
  });

  test("and its port is free soon after the connection ended", () => {
    const world = natWorld(policy({}, silent));
    const open = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    const { sport } = pass(world, PORT_INSIDE, tcp({ ...open, flags: "S", seq: 1 }));
    pass(world, PORT_OUTSIDE, tcp({ from: SERVER, to: POOL, sport: 80, dport: sport, flags: "RA", ack: 2 }));
    world.tick(5100);
    world.tick(10_100);
    expect(world.table.used).toBe(0);
    expect(world.count("natPortsNow")).toBe(0);
  });
});

describe("in a cluster", () => {
  /** The world that decides what a client sends. */
  function opened(pair: Pair, sport: number): { owner: World; port: number } {
    pair.one.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport, dport: 53 }));
    pair.settle();
    const [owner] = pair.worlds.filter((world) => world.sent.length > 0);
    const { sport: port } = see(owner!.takeOne().frame).ip!;
    return { owner: owner!, port };
  }

  test("a call from outside finds the binding from either node", () => {
    for (const affinity of ["source", "flow"] as const) {
      const pair = new Pair({ ...policy(OPEN), affinity });
      const { port } = opened(pair, 5000);
      for (const [i, world] of pair.worlds.entries()) {
        world.packet(PORT_OUTSIDE, call(port, `203.0.113.${i + 1}`));
        pair.settle();
        const sent = pair.worlds.flatMap((each) => each.take());
        expect(sent.map(({ frame }) => see(frame).ip!.to)).toEqual([CLIENT]);
      }
    }
  });

  test("the backup goes on with a binding: the same port, and calls still reach the host", () => {
    const pair = new Pair(policy(OPEN));
    const { owner, port } = opened(pair, 5000);
    const backup = pair.other(owner);
    expect(backup.table.used).toBe(2);
    pair.assign(2, () => backup.view.selfId);
    backup.packet(PORT_OUTSIDE, call(port));
    pair.settle();
    expect(see(backup.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: 5000 });
    backup.packet(PORT_INSIDE, udp({ from: CLIENT, to: OTHER_SERVER, sport: 5000, dport: 53 }));
    pair.settle();
    expect(see(backup.takeOne().frame).ip!.sport).toBe(port);
  });

  test("a binding that was taken over ends by its time, and not before its flows", () => {
    const pair = new Pair(policy());
    const { owner } = opened(pair, 5000);
    const backup = pair.other(owner);
    pair.assign(2, () => backup.view.selfId);
    for (let i = 0; i < 40; i++) {
      backup.tick(8000);
      backup.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
      backup.take();
    }
    expect(backup.table.used).toBe(2);
    for (let i = 0; i < 7; i++) backup.tick(MINUTE_MS);
    expect(backup.table.used).toBe(0);
  });
});

test("an error about what a mapped port sent is told to the inside host, with the inside endpoint in it", () => {
  const world = natWorld(policy(OPEN));
  const out = pass(world, PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
  const about = ipv4(17, { from: POOL, to: SERVER }, out.body);
  const seen = pass(world, PORT_OUTSIDE, icmpError({ from: STRANGER, to: POOL }, 11, 0, about));
  expect(seen).toMatchObject({ from: STRANGER, to: CLIENT, icmpType: 11, bodyOk: true });
  expect(seeIp(seen.body.subarray(8))).toMatchObject({ from: CLIENT, sport: 5000, bodyOk: true });
});

describe("a binding that came with a snapshot", () => {
  const kinds = test.each([
    ["outward", policy(), false],
    ["inward", policy(OPEN), true],
  ] as const);

  /** A connection of an inside port that stands, of which the backup has no record; and the port that outside sees. */
  function standing(model: PolicyModel, isInward: boolean): { pair: Pair; port: number } {
    const pair = new Pair(model);
    const { one } = pair;
    pair.assign(2, () => 1);
    one.view.backup.fill(0);
    const out = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    one.packet(PORT_INSIDE, tcp({ ...out, flags: "S", seq: 100 }));
    const { sport: port } = see(one.takeOne().frame).ip!;
    const back = { from: SERVER, to: POOL, sport: 80, dport: port };
    if (isInward) {
      // The connection that opened the binding is refused; somebody outside comes by it.
      one.packet(PORT_OUTSIDE, tcp({ ...back, flags: "RA", ack: 101 }));
      const inward = { from: STRANGER, to: POOL, sport: 999, dport: port };
      one.packet(PORT_OUTSIDE, tcp({ ...inward, flags: "S", seq: 7 }));
      const answer = { from: CLIENT, to: STRANGER, sport: 5000, dport: 999 };
      one.packet(PORT_INSIDE, tcp({ ...answer, flags: "SA", seq: 900, ack: 8 }));
      one.packet(PORT_OUTSIDE, tcp({ ...inward, flags: "A", seq: 8, ack: 901 }));
    } else {
      one.packet(PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 900, ack: 101 }));
      one.packet(PORT_INSIDE, tcp({ ...out, flags: "A", seq: 101, ack: 901 }));
    }
    one.tick(6000);
    one.take();
    one.view.backup.fill(2);
    return { pair, port };
  }

  /** Sends all slots to the backup, without the row that comes first if that is lost. */
  function sendAll({ one, two }: Pair, isFirstLost = false): void {
    let rows = 0;
    for (let slot = 0; slot < one.view.slots; slot++) one.engine.exportSlot(slot);
    for (let more = true; more; ) {
      more = one.engine.exportStep(64, one.nowMs);
      const ring = one.ring!;
      for (let i = 0; i < ring.length(); i++) {
        const record = ring.bytes.slice(ring.at(i), ring.at(i) + RECORD_BYTES);
        const isRow = record[RECORD_OP_AT] === OP_UPSERT;
        if (isRow) rows++;
        if (!(isRow && rows === 1 && isFirstLost)) two.engine.applyReplica(record, 0, two.nowMs);
      }
      ring.release(ring.length());
    }
    expect(rows).toBe(2);
  }

  /** The port that the backup, now the owner, gives the inside port towards another server ten minutes later. */
  function portLater(pair: Pair): number {
    pair.one.view.peerFlags[2] = 0;
    pair.two.view.peerFlags[1] = 0;
    pair.assign(3, () => 2);
    for (let i = 0; i < 600; i++) pair.two.tick(1000);
    pair.two.take();
    const syn = tcp({ from: CLIENT, to: OTHER_SERVER, sport: 5000, dport: 443, flags: "S", seq: 5 });
    pair.two.packet(PORT_INSIDE, syn);
    return see(pair.two.takeOne().frame).ip!.sport;
  }

  kinds(
    "stays as long as its connections, also after a takeover (RFC 4787 REQ-1), %s",
    (_, model, isInward) => {
      const { pair, port } = standing(model, isInward);
      sendAll(pair);
      expect(portLater(pair)).toBe(port);
    },
  );

  kinds("has connections that were there before it once they are sent again, %s", (_, model, isInward) => {
    const { pair, port } = standing(model, isInward);
    sendAll(pair, true);
    expect(pair.two.table.used).toBe(1);
    sendAll(pair);
    expect(portLater(pair)).toBe(port);
  });
});
