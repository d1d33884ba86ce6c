/**
 * FFW_RUL_EXT.1.1 and 1.5: nothing passes but by a decision, and sessions begin and end as they should.
 */
import { describe, expect, test } from "vitest";
import {
  type ClusterView,
  SLOT_REMOTE,
  SLOT_TAKEOVER,
  standaloneView,
} from "../../../src/dataplane/cluster-view.ts";
import { echo, icmpError, tcp, udp } from "../dataplane/frames.ts";
import { OUTSIDE, PORT_OUTSIDE, TIMEOUTS } from "../dataplane/world.ts";
import {
  Connection,
  FAMILIES,
  type Family,
  OUTWARD,
  PLAIN,
  passed,
  rules,
  verdict,
  world,
} from "./families.ts";

/** A node that has just started: nobody gave it a slot or a lease. */
function startingView(state: number): ClusterView {
  const view = standaloneView(64);
  view.owner.fill(0);
  view.state.fill(state);
  view.leaseUntilMs[0] = 0;
  return view;
}

/** One packet of each kind that the rules permit, and one that they deny. */
function samples(family: Family): [packet: Uint8Array, port: number][] {
  const out = { from: family.client, to: family.server };
  const back = { from: family.server, to: family.client };
  return [
    [tcp({ ...out, sport: 1, dport: 2, flags: "S" }), 0],
    [tcp({ ...out, sport: 1, dport: 2, flags: "A" }), 0],
    [udp({ ...out, sport: 1, dport: 2 }), 0],
    [echo({ ...out, id: 1 }), 0],
    [tcp({ ...back, sport: 1, dport: 2, flags: "S" }), PORT_OUTSIDE],
    [udp({ ...back, sport: 1, dport: 2 }), PORT_OUTSIDE],
    [echo({ ...back, id: 1, isReply: true }), PORT_OUTSIDE],
  ];
}

describe.each(FAMILIES)("$name", (family) => {
  const udpOut = { from: family.client, to: family.server, sport: 4000, dport: 53 };
  const udpBack = { from: family.server, to: family.client, sport: 53, dport: 4000 };

  test.each([
    ["nobody owns anything yet", SLOT_TAKEOVER],
    ["others own everything", SLOT_REMOTE],
    ["the memory of slots is all zero", 0],
  ])("FFW_RUL_EXT.1.1 no packet passes during initialisation, permitted or denied: %s", (_, state) => {
    const firewall = world({}, { view: startingView(state) });
    for (const [packet, port] of samples(family)) firewall.packet(port, packet);
    for (let i = 0; i < 100; i++) firewall.tick(10);
    expect(passed(firewall)).toEqual([]);
    expect(firewall.table.used).toBe(0);
    expect(firewall.lost()).toBe(0);
  });

  test("FFW_RUL_EXT.1.1 on failure, with slots but without a lease, nothing new passes and established flows go on", () => {
    const firewall = world();
    const connection = new Connection(firewall, family).open();
    firewall.take();
    firewall.view.leaseUntilMs[0] = firewall.nowMs;
    for (const [packet, port] of samples(family)) {
      expect(verdict(firewall, packet, port)).toMatch(/^(fenced|invalid_state)$/);
    }
    expect(passed(firewall)).toEqual([]);
    expect(connection.client("A", 101, 901)).toBe("forwarded_shared");
  });

  test("FFW_RUL_EXT.1.1 saturated by flows, what has no room in the table does not pass", () => {
    const firewall = world({}, { capacity: 4 });
    for (let i = 0; i < 4; i++) new Connection(firewall, family, 1 + i).open();
    expect(passed(firewall).length).toBe(12);
    expect(verdict(firewall, udp({ ...udpOut, sport: 99 }))).toBe("table_full");
    expect(verdict(firewall, udp(udpBack), PORT_OUTSIDE)).toBe("denied");
    expect(passed(firewall)).toEqual([]);
    const ack = { from: family.client, to: family.server, sport: 1, dport: 443, seq: 101, ack: 901 };
    expect(verdict(firewall, tcp({ ...ack, flags: "A" }))).toBe("forwarded");
  });

  test("FFW_RUL_EXT.1.1 saturated by waiting packets, what finds no frame is dropped and nothing is lost", () => {
    const firewall = world({}, { answersArp: false, chunks: 80, limits: { freeFramesMin: 64 } });
    const verdicts = Array.from({ length: 40 }, (_, i) =>
      verdict(firewall, udp({ ...udpOut, sport: 1 + i })),
    );
    expect(verdicts.filter((name) => name === "held").length).toBeLessThanOrEqual(16);
    expect(verdicts.at(-1)).toBe("hold_full");
    expect(verdict(firewall, udp(udpBack), PORT_OUTSIDE)).not.toBe("forwarded");
    expect(passed(firewall)).toEqual([]);
    expect(firewall.lost()).toBe(0);
  });

  test("FFW_RUL_EXT.1.1 with no room to tell the others of a flow, rules hold as ever", () => {
    const firewall = world({}, { ringRecords: 2 });
    for (let i = 0; i < 20; i++) {
      verdict(firewall, udp({ ...udpOut, sport: 100 + i }));
      expect(verdict(firewall, udp({ ...udpBack, dport: 9000 + i }), PORT_OUTSIDE)).toBe("denied");
    }
  });

  test("FFW_RUL_EXT.1.5a a TCP segment belongs to a session by addresses, ports, sequence number and flags", () => {
    const firewall = world();
    const connection = new Connection(firewall, family).open();
    expect(connection.server("A", 901, 101)).toBe("forwarded");
    const fit = { from: family.server, to: family.client, sport: 443, dport: 40_000, seq: 901, ack: 101 };
    const others = [
      [{ ...fit, from: family.server2 }, "invalid_state"],
      [{ ...fit, to: family.client2 }, "invalid_state"],
      [{ ...fit, sport: 444 }, "invalid_state"],
      [{ ...fit, dport: 40_001 }, "invalid_state"],
      [{ ...fit, seq: 901 + 200_000 }, "out_of_window"],
      [{ ...fit, ack: 101 + 1 }, "out_of_window"],
    ] as const;
    for (const [spec, reason] of others) {
      expect(verdict(firewall, tcp({ ...spec, flags: "A" }), PORT_OUTSIDE)).toBe(reason);
    }
    for (const flags of ["", "FS", "SR", "FPU"]) {
      expect(verdict(firewall, tcp({ ...fit, flags }), PORT_OUTSIDE)).toBe("invalid_state");
    }
    expect(connection.server("R", 901 + 200_000)).toBe("out_of_window");
    expect(connection.client("A", 101, 901)).toBe("forwarded");
  });

  test("FFW_RUL_EXT.1.5a a UDP datagram belongs to a session by addresses and ports", () => {
    const firewall = world();
    verdict(firewall, udp(udpOut));
    expect(verdict(firewall, udp(udpBack), PORT_OUTSIDE)).toBe("forwarded");
    for (const other of [
      { ...udpBack, from: family.server2 },
      { ...udpBack, to: family.client2 },
      { ...udpBack, sport: 54 },
      { ...udpBack, dport: 4001 },
    ]) {
      expect(verdict(firewall, udp(other), PORT_OUTSIDE)).toBe("denied");
    }
  });

  test("FFW_RUL_EXT.1.5a an ICMP message belongs to a session by addresses and identifier, an error by what it is about", () => {
    const firewall = world();
    verdict(firewall, echo({ from: family.client, to: family.server, id: 7 }));
    const reply = { from: family.server, to: family.client, id: 7, isReply: true };
    expect(verdict(firewall, echo(reply), PORT_OUTSIDE)).toBe("forwarded");
    expect(verdict(firewall, echo({ ...reply, id: 8 }), PORT_OUTSIDE)).toBe("invalid_state");
    expect(verdict(firewall, echo({ ...reply, from: family.server2 }), PORT_OUTSIDE)).toBe("invalid_state");
    const type = family.isIpv6 ? 1 : 3;
    const by = { from: family.server2, to: family.client };
    const stranger = icmpError(by, type, 1, udp(udpOut));
    expect(verdict(firewall, stranger, PORT_OUTSIDE)).toBe("icmp_unrelated");
    verdict(firewall, udp(udpOut));
    expect(verdict(firewall, stranger, PORT_OUTSIDE)).not.toBe("icmp_unrelated");
  });

  test("FFW_RUL_EXT.1.5b a session ends by time-out, and a packet right after faces the rules again", () => {
    const firewall = world();
    verdict(firewall, udp(udpOut));
    verdict(firewall, udp(udpBack), PORT_OUTSIDE);
    // No tick in between: the end counts when it is there, not when somebody sweeps.
    firewall.nowMs += TIMEOUTS.udpReplied - 1;
    expect(verdict(firewall, udp(udpBack), PORT_OUTSIDE)).toBe("forwarded");
    firewall.nowMs += TIMEOUTS.udpReplied;
    expect(verdict(firewall, udp(udpBack), PORT_OUTSIDE)).toBe("denied");
    expect(firewall.ruleHits[0]).toBe(1);
    verdict(firewall, udp(udpOut));
    expect(firewall.ruleHits[0]).toBe(2);
  });

  test.each(["syn_sent", "syn_received", "established"])(
    "FFW_RUL_EXT.1.5b a TCP session in %s ends by its own time-out",
    (state) => {
      const firewall = world();
      const connection = new Connection(firewall, family);
      connection.client("S", 100);
      if (state !== "syn_sent") connection.server("SA", 900, 101);
      if (state === "established") connection.client("A", 101, 901);
      const life = { syn_sent: TIMEOUTS.tcpSynSent, syn_received: TIMEOUTS.tcpSynReceived }[state];
      firewall.nowMs += life ?? TIMEOUTS.tcpEstablished;
      expect(connection.server("A", 901, 101)).toBe("invalid_state");
      expect(firewall.table.used).toBe(0);
    },
  );

  test.each(["FIN", "RST"])(
    "FFW_RUL_EXT.1.5b a TCP session ends by %s, and a packet within a second faces the rules",
    (by) => {
      const firewall = world();
      const connection = new Connection(firewall, family).open();
      if (by === "FIN") connection.close();
      else connection.server("R", 901);
      firewall.take();
      firewall.nowMs += 500;
      // The same connection once more is a new one for the rules: permitted, and then not any more.
      expect(connection.client("S", 70_000)).toMatch(/^(forwarded|held)$/);
      expect(firewall.ruleHits[0]).toBe(2);
      connection.server("RA", 0, 70_001);
      const denied = rules({ ...OUTWARD, action: 0 });
      firewall.engine.usePolicy({ ...PLAIN, rules: denied }, new Float64Array(2));
      expect(connection.client("S", 90_000)).toBe("denied");
      expect(connection.client("A", 90_001, 902)).toBe("invalid_state");
      expect(firewall.table.used).toBe(0);
    },
  );

  test("FFW_RUL_EXT.1.5b after both FINs no data passes in the old session", () => {
    const firewall = world();
    const connection = new Connection(firewall, family).open().close();
    firewall.take();
    expect(connection.client("PA", 102, 902, new Uint8Array(9))).not.toBe("forwarded");
    expect(connection.server("PA", 902, 102, new Uint8Array(9))).not.toBe("forwarded");
    expect(passed(firewall)).toEqual([]);
  });

  test("FFW_RUL_EXT.1.9 what no rule permits is dropped and counted", () => {
    const empty = world({ rules: [] });
    for (const [packet, port] of samples(family)) {
      expect(verdict(empty, packet, port)).toMatch(/^(denied|invalid_state)$/);
    }
    expect(empty.ruleHits[0]).toBeGreaterThan(0);
    expect(passed(empty)).toEqual([]);
    const firewall = world();
    expect(verdict(firewall, udp(udpBack), PORT_OUTSIDE)).toBe("denied");
    expect(firewall.ruleHits[firewall.policy.rules.length]).toBe(1);
    expect(OUTSIDE).toBe(1);
  });
});
