import { describe, expect, test } from "vitest";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { virtualMac } from "../../../src/dataplane/virtual-mac.ts";
import { arp, echo, ethernet, ip, mac, macText, see, tcp, udp, words } from "./frames.ts";
import { Pair, SLOTS } from "./pair.ts";
import {
  hostMac,
  INSIDE,
  LAB_POLICY,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  prefix,
  TEST_KEY,
  verdictName,
  World,
} from "./world.ts";

const BROADCAST = new Uint8Array(6).fill(255);

function who(asker: string, target: string): Uint8Array {
  return ethernet(
    BROADCAST,
    hostMac(asker),
    0x0806,
    arp({ op: 1, senderMac: hostMac(asker), sender: asker, target }),
  );
}

function virtualText(zone: number, slot: number): string {
  const out = new Uint8Array(6);
  virtualMac(zone, slot, out);
  return macText(out);
}

describe("ARP answers", () => {
  test("for the gateway come from exactly the owner of the asking host's slot, with that slot's virtual MAC", () => {
    const pair = new Pair();
    for (let i = 2; i < 30; i++) {
      const asker = `10.10.0.${i}`;
      const slot = slotOfAddress(TEST_KEY, SLOTS, words(asker), 0);
      for (const world of pair.worlds) world.receive(PORT_INSIDE, who(asker, "10.10.0.1"));
      const answers = pair.worlds.map((world) => world.take());
      expect(answers.map((list) => list.length)).toEqual(slot % 2 === 0 ? [1, 0] : [0, 1]);
      const answer = see(answers[slot % 2]![0]!.frame);
      expect(answer.destinationMac).toBe(macText(hostMac(asker)));
      expect(answer.arp).toEqual({
        op: 2,
        senderMac: virtualText(INSIDE, slot),
        sender: "10.10.0.1",
        targetMac: macText(hostMac(asker)),
        target: asker,
      });
    }
  });

  test("for the i-th answered address come from the owner of slot i", () => {
    const pair = new Pair();
    for (const [index, address] of ["198.51.100.10", "198.51.100.11"].entries()) {
      for (const world of pair.worlds) world.receive(PORT_OUTSIDE, who("198.51.100.100", address));
      expect(pair.worlds.map((world) => world.sent.length)).toEqual(index === 0 ? [1, 0] : [0, 1]);
      expect(see(pair.worlds[index]!.takeOne().frame).arp!.senderMac).toBe(virtualText(OUTSIDE, index));
    }
  });

  test("for a node's own address are given to a probe, by that node alone, lease or not, with the port's MAC", () => {
    const pair = new Pair();
    for (const world of pair.worlds) world.view.leaseUntilMs[0] = 0;
    const probe = ethernet(
      BROADCAST,
      hostMac("10.10.0.2"),
      0x0806,
      arp({ op: 1, senderMac: hostMac("10.10.0.2"), sender: "0.0.0.0", target: "172.16.0.2" }),
    );
    for (const world of pair.worlds) world.receive(PORT_INSIDE, probe);
    expect(pair.worlds.map((world) => world.sent.length)).toEqual([0, 1]);
    const answer = see(pair.worlds[1]!.takeOne().frame);
    expect([answer.arp!.op, answer.arp!.sender, answer.arp!.target]).toEqual([2, "172.16.0.2", "0.0.0.0"]);
    expect(answer.arp!.senderMac).toBe("02:00:00:00:02:00");
  });

  test("of peers to probes of this node are left to the node, and of hosts to probes are learned from", () => {
    const { one } = new Pair();
    const replyOf = (sender: string): Uint8Array =>
      ethernet(
        mac("02:00:00:00:01:00"),
        hostMac("10.10.0.2"),
        0x0806,
        arp({ op: 2, senderMac: hostMac("10.10.0.2"), sender, target: "0.0.0.0" }),
      );
    expect(verdictName(one.receive(PORT_INSIDE, replyOf("172.16.0.2")))).toBe("local");
    expect(verdictName(one.receive(PORT_INSIDE, replyOf("10.10.0.2")))).toBe("arp");
  });

  test("are not given by a fenced node, for other zones' addresses, to strangers, or for anybody else", () => {
    const world = new World();
    expect(verdictName(world.receive(PORT_INSIDE, who("10.10.0.2", "198.51.100.1")))).toBe("arp");
    expect(verdictName(world.receive(PORT_INSIDE, who("10.10.0.2", "198.51.100.10")))).toBe("arp");
    expect(verdictName(world.receive(PORT_INSIDE, who("10.10.0.2", "10.10.0.250")))).toBe("arp");
    expect(verdictName(world.receive(PORT_INSIDE, who("192.0.2.1", "10.10.0.1")))).toBe("arp");
    world.view.leaseUntilMs[0] = world.nowMs;
    expect(verdictName(world.receive(PORT_INSIDE, who("10.10.0.2", "10.10.0.1")))).toBe("arp");
    expect(world.take()).toEqual([]);
    expect(world.lost()).toBe(0);
  });

  test("defend the gateway's address against a host that probes for it (RFC 5227 section 2.1.1)", () => {
    const world = new World();
    expect(verdictName(world.receive(PORT_INSIDE, who("0.0.0.0", "10.10.0.1")))).toBe("answered");
    expect(see(world.takeOne().frame).arp!.target).toBe("0.0.0.0");
  });
});

describe("a route without next hop", () => {
  const GUEST = "203.0.113.7";
  const onLink = { to: prefix("203.0.113.0/24"), zone: INSIDE, via: 0 };

  test("carries packets to and from hosts on the zone's wire that the gateway's network does not hold", () => {
    const world = new World({ policy: { ...LAB_POLICY, routes: [...LAB_POLICY.routes, onLink] } });
    expect(verdictName(world.receive(PORT_INSIDE, who(GUEST, "10.10.0.1")))).toBe("answered");
    world.take();
    world.packet(PORT_INSIDE, udp({ from: GUEST, to: "198.51.100.100", sport: 4000, dport: 53 }));
    const sent = see(world.takeOne().frame).ip!;
    world.packet(PORT_OUTSIDE, udp({ from: "198.51.100.100", to: sent.from, sport: 53, dport: sent.sport }));
    const answer = world.takeOne();
    expect(answer.port).toBe(PORT_INSIDE);
    expect(see(answer.frame).destinationMac).toBe(macText(hostMac(GUEST)));
    expect(see(answer.frame).ip!.to).toBe(GUEST);
    expect(world.lost()).toBe(0);
  });

  test("lets a host that never spoke be found by its answer to a probe", () => {
    const dnat = [{ ...LAB_POLICY.dnat[0]!, to: ip(GUEST) }];
    const rules = [{ ...LAB_POLICY.rules[1]!, destinations: [prefix(`${GUEST}/32`)] }];
    const world = new World({
      policy: { ...LAB_POLICY, routes: [...LAB_POLICY.routes, onLink], dnat, rules },
    });
    const syn = tcp({ from: "198.51.100.100", to: "198.51.100.10", sport: 5000, dport: 8080, flags: "S" });
    expect(verdictName(world.packet(PORT_OUTSIDE, syn))).toBe("held");
    expect(see(world.takeOne().frame).ip!.to).toBe(GUEST);
  });

  test("holds in its own zone alone, and a route with a next hop makes nobody a neighbour", () => {
    const world = new World({ policy: { ...LAB_POLICY, routes: [...LAB_POLICY.routes, onLink] } });
    expect(verdictName(world.receive(PORT_OUTSIDE, who(GUEST, "198.51.100.1")))).toBe("arp");
    expect(verdictName(world.receive(PORT_OUTSIDE, who("192.0.2.9", "198.51.100.1")))).toBe("arp");
    expect(world.take()).toEqual([]);
  });
});

describe("learning", () => {
  test("a host that asks for the gateway is known to every node that hears it", () => {
    const pair = new Pair();
    for (const world of pair.worlds) world.receive(PORT_INSIDE, who("10.10.0.5", "10.10.0.1"));
    expect(pair.worlds.map((world) => world.count("neighboursNow"))).toEqual([1, 1]);
  });

  test("a host that moved says so, and frames follow it; a stranger's words are not kept", () => {
    const world = new World();
    world.packet(PORT_INSIDE, udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 1, dport: 2 }));
    world.take();
    const moved = mac("02:bb:bb:bb:bb:bb");
    const announce = arp({ op: 1, senderMac: moved, sender: "198.51.100.100", target: "198.51.100.100" });
    world.receive(PORT_OUTSIDE, ethernet(BROADCAST, moved, 0x0806, announce));
    world.packet(PORT_INSIDE, udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 1, dport: 2 }));
    expect(see(world.takeOne().frame).destinationMac).toBe(macText(moved));
    const unknown = arp({ op: 2, senderMac: moved, sender: "198.51.100.7", target: "198.51.100.8" });
    world.receive(PORT_OUTSIDE, ethernet(BROADCAST, moved, 0x0806, unknown));
    expect(world.count("neighboursNow")).toBe(1);
  });

  test("nobody can claim an address of the cluster", () => {
    const world = new World();
    const thief = mac("02:bb:bb:bb:bb:bb");
    const claim = arp({ op: 1, senderMac: thief, sender: "10.10.0.1", target: "10.10.0.1" });
    expect(verdictName(world.receive(PORT_INSIDE, ethernet(BROADCAST, thief, 0x0806, claim)))).toBe("arp");
    expect(world.count("neighboursNow")).toBe(0);
  });

  test("an old entry that is in use is asked for again while frames go on", () => {
    const world = new World({ answersArp: false });
    const packet = udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 1, dport: 2 });
    world.packet(PORT_INSIDE, packet);
    const reply = arp({
      op: 2,
      senderMac: hostMac("198.51.100.100"),
      sender: "198.51.100.100",
      targetMac: world.ports[1]!.mac,
      target: "0.0.0.0",
    });
    world.receive(PORT_OUTSIDE, ethernet(world.ports[1]!.mac, hostMac("198.51.100.100"), 0x0806, reply));
    world.take();
    world.tick(9_000);
    world.packet(PORT_INSIDE, packet);
    expect(world.count("arpRequests")).toBe(1);
    world.tick(9_000);
    world.packet(PORT_INSIDE, packet);
    world.tick(9_000);
    world.packet(PORT_INSIDE, packet);
    world.tick(9_000);
    world.take();
    expect(verdictName(world.packet(PORT_INSIDE, packet))).toBe("forwarded");
    world.tick();
    expect(world.count("arpRequests")).toBe(2);
  });
});

describe("a full neighbour cache", () => {
  const ping = (host: number) => echo({ from: `10.10.0.${host}`, to: "10.10.0.1", id: 1 });

  test("forgets an entry for a new one, and counts it", () => {
    const world = new World({ limits: { neighboursMax: 4 } });
    for (let host = 2; host < 8; host++) world.packet(PORT_INSIDE, ping(host));
    expect(world.take()).toHaveLength(6);
    world.tick();
    expect([world.count("neighboursNow"), world.count("neighboursEvicted")]).toEqual([4, 2]);
    expect([world.count("neighboursPendingNow"), world.count("neighboursRefused")]).toEqual([0, 0]);
  });

  test("refuses a new one while all others are being asked for, and counts it", () => {
    const world = new World({ limits: { neighboursMax: 4 }, answersArp: false });
    for (let host = 2; host < 8; host++) world.packet(PORT_INSIDE, ping(host));
    expect([world.count("neighboursPendingNow"), world.count("neighboursRefused")]).toEqual([4, 2]);
    expect(world.count("neighboursEvicted")).toBe(0);
  });
});

describe("announcements", () => {
  test("are one broadcast frame from each virtual MAC in each zone, of a kind that hosts ignore", () => {
    const world = new World();
    world.engine.announceSlots([3, 7]);
    const sent = world.take().map(({ port, frame }) => ({ port, ...see(frame) }));
    expect(sent.map(({ port, sourceMac }) => [port, sourceMac])).toEqual([
      [PORT_INSIDE, virtualText(INSIDE, 3)],
      [PORT_OUTSIDE, virtualText(OUTSIDE, 3)],
      [PORT_INSIDE, virtualText(INSIDE, 7)],
      [PORT_OUTSIDE, virtualText(OUTSIDE, 7)],
    ]);
    expect(new Set(sent.map(({ type }) => type))).toEqual(new Set([0x8035]));
    expect(new Set(sent.map(({ destinationMac }) => destinationMac))).toEqual(new Set(["ff:ff:ff:ff:ff:ff"]));
  });

  test.each([1, 20, 50])(
    "of all owned slots are repeated every five seconds, spread over ticks of %d ms",
    (tickMs) => {
      const pair = new Pair();
      const counts = new Map<string, number>();
      for (let ms = 0; ms < 5000; ms += tickMs) {
        pair.one.tick(tickMs);
        for (const { frame } of pair.one.take()) {
          const { sourceMac } = see(frame);
          counts.set(sourceMac, (counts.get(sourceMac) ?? 0) + 1);
        }
      }
      expect(counts.size).toBe(SLOTS);
      expect([...counts.values()].every((n) => n <= 2)).toBe(true);
      expect([...counts.keys()].every((text) => Number.parseInt(text.slice(-2), 16) % 2 === 0)).toBe(true);
    },
  );

  test("of very many slots are bounded at once and finished by ticks", () => {
    const world = new World();
    const view = world.view;
    world.engine.announceSlots(Array.from({ length: view.slots }, (_, slot) => slot));
    for (let i = 0; i < 10; i++) world.tick();
    expect(world.count("announcements")).toBeGreaterThanOrEqual(view.slots * 2);
  });
});
