/** A SYN on the tuples of a connection that is over: what becomes of the old one and of the new one. */

import { describe, expect, test } from "vitest";
import { SLOT_REMOTE, standaloneView } from "../../../src/dataplane/cluster-view.ts";
import { NO_PROTECTION } from "../../../src/dataplane/defence/defence.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { see, tcp, udp, words } from "./frames.ts";
import { CLIENT, natPolicy, SERVER } from "./nat-worlds.ts";
import {
  DUAL_POLICY,
  INSIDE,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  rule,
  TEST_KEY,
  verdictName,
  World,
} from "./world.ts";

const NEW_ISN = 500_000;

/** One connection of a client inside to a server outside, ended by both with FIN: TIME-WAIT (RFC 9293 section 3.6). */
class Ended {
  readonly world: World;
  readonly out;
  back;

  constructor(world: World, client = CLIENT, server = SERVER) {
    this.world = world;
    this.out = { from: client, to: server, sport: 5000, dport: 80 };
    world.packet(PORT_INSIDE, tcp({ ...this.out, flags: "S", seq: 100 }));
    const { from, sport } = see(world.take().at(-1)!.frame).ip!;
    this.back = { from: server, to: from, sport: 80, dport: sport };
    world.packet(PORT_OUTSIDE, tcp({ ...this.back, flags: "SA", seq: 900, ack: 101 }));
    world.packet(PORT_INSIDE, tcp({ ...this.out, flags: "FA", seq: 101, ack: 901 }));
    world.packet(PORT_OUTSIDE, tcp({ ...this.back, flags: "FA", seq: 901, ack: 102 }));
    expect(this.repeatLast()).toBe("forwarded");
  }

  /** The client's last acknowledgement once more: "forwarded" as long as the connection is known. */
  repeatLast(): string {
    const verdict = this.world.packet(PORT_INSIDE, tcp({ ...this.out, flags: "A", seq: 102, ack: 902 }));
    this.world.take();
    return verdictName(verdict);
  }

  /** The client opens a new connection on the same tuple. */
  again(): string {
    return verdictName(this.world.packet(PORT_INSIDE, tcp({ ...this.out, flags: "S", seq: NEW_ISN })));
  }

  /** The new connection is the one that counts. */
  takeNew(): void {
    const { from, sport } = see(this.world.takeOne().frame).ip!;
    this.back = { ...this.back, to: from, dport: sport };
  }

  /** The server's answer to the new connection's SYN. */
  answer(): string {
    const answer = tcp({ ...this.back, flags: "SA", seq: 70_000, ack: NEW_ISN + 1 });
    return verdictName(this.world.packet(PORT_OUTSIDE, answer));
  }
}

describe("a SYN that is refused does not end the old connection", () => {
  test("when no rule allows it: it comes from the other end (RFC 9293 section 3.6.1)", () => {
    const world = new World({ policy: DUAL_POLICY });
    const ended = new Ended(world, "2001:db8:10::2", "2001:db8:f::64");
    const used = world.table.used;
    const syn = tcp({ ...ended.back, flags: "S", seq: NEW_ISN });
    expect(verdictName(world.packet(PORT_OUTSIDE, syn))).toBe("denied");
    expect(world.table.used).toBe(used);
    expect(ended.repeatLast()).toBe("forwarded");
    expect(world.lost()).toBe(0);
  });

  test("when its rule has no more new flows to give (rate)", () => {
    const rules = [rule(0, { fromZone: INSIDE, toZone: OUTSIDE, rate: { perSecond: 1, burst: 1 } })];
    const ended = new Ended(new World({ policy: natPolicy({ rules }) }));
    expect(ended.again()).toBe("rule_rate");
    expect(ended.repeatLast()).toBe("forwarded");
  });

  test("when too many connections are half-open (FFW_RUL_EXT.1.10)", () => {
    const protection = { ...NO_PROTECTION, halfOpenPerSource: 1 };
    const ended = new Ended(new World({ policy: natPolicy({ protection }) }));
    const other = tcp({ ...ended.out, sport: 5001, flags: "S" });
    expect(verdictName(ended.world.packet(PORT_INSIDE, other))).toBe("forwarded");
    expect(ended.again()).toBe("half_open_limit");
    expect(ended.repeatLast()).toBe("forwarded");
  });
});

describe("a SYN that is accepted takes the old connection's place", () => {
  test("in the table, and its segments are nobody's from then on (RFC 9293 section 3.6.1)", () => {
    const ended = new Ended(new World({ policy: natPolicy() }));
    const { world } = ended;
    const used = world.table.used;
    expect(ended.again()).toBe("forwarded");
    ended.takeNew();
    expect(world.table.used).toBe(used);
    expect(world.count("flowsEnded")).toBe(1);
    expect(ended.repeatLast()).toBe("invalid_state");
    expect(ended.answer()).toBe("forwarded");
    expect(world.lost()).toBe(0);
  });

  test("its row included, when the table has no other", () => {
    const world = new World({ policy: natPolicy(), capacity: 4 });
    const ended = new Ended(world);
    for (let i = 0; i < 3; i++) {
      world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 2000 + i, dport: 53 }));
    }
    expect(world.table.used).toBe(4);
    world.take();
    expect(ended.again()).toBe("forwarded");
    ended.takeNew();
    expect(ended.answer()).toBe("forwarded");
    expect(world.count("earlyDrops")).toBe(0);
    expect(world.table.used).toBe(4);
  });

  test.each([
    ["its external port included, when no other is left", 1, 0],
    ["also one that was borrowed from another slot", 2, 64],
  ])("%s", (_, slots, others) => {
    const world = crowded(slots);
    const open = (sport: number): string =>
      verdictName(world.packet(PORT_INSIDE, tcp({ from: CLIENT, to: SERVER, sport, dport: 80, flags: "S" })));
    for (let i = 0; i < others; i++) open(7000 + i);
    world.take();
    const ended = new Ended(world);
    for (let i = 0; i < 130; i++) open(6000 + i);
    expect(open(6500)).toBe("nat_port_exhausted");
    // Ports that were used up are looked at again.
    world.tick(1000);
    expect(open(6501)).toBe("nat_port_exhausted");
    world.tick(1000);
    world.take();
    const { dport } = ended.back;
    expect(ended.again()).toBe("forwarded");
    ended.takeNew();
    expect(ended.back.dport).toBe(dport);
    expect(ended.answer()).toBe("forwarded");
  });

  test("when a cookie is asked for, so that the proof finds nothing old (RFC 4987 section 3.7)", () => {
    const protection = { ...NO_PROTECTION, synProxyAbove: 4 };
    const ended = new Ended(new World({ policy: natPolicy({ protection }) }));
    const { world, out } = ended;
    for (let i = 0; i < 10; i++) world.packet(PORT_INSIDE, tcp({ ...out, sport: 6000 + i, flags: "S" }));
    world.take();
    expect(ended.again()).toBe("answered");
    const { body } = see(world.takeOne().frame).ip!;
    const cookie = new DataView(body.buffer, body.byteOffset).getUint32(4);
    const proof = tcp({ ...out, flags: "A", seq: NEW_ISN + 1, ack: cookie + 1 });
    expect(verdictName(world.packet(PORT_INSIDE, proof))).toBe("forwarded");
    expect(see(world.takeOne().frame).ip).toMatchObject({ to: SERVER, flags: "S" });
    expect(world.lost()).toBe(0);
  });

  test("one whose server has not answered included: its client gave it up (RFC 4987 section 3.7)", () => {
    const protection = { ...NO_PROTECTION, synProxyAbove: 4 };
    const world = new World({ policy: natPolicy({ protection }) });
    const out = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    for (let i = 0; i < 10; i++) world.packet(PORT_INSIDE, tcp({ ...out, sport: 6000 + i, flags: "S" }));
    const used = world.table.used;
    for (const seq of [1000, NEW_ISN]) {
      world.take();
      expect(verdictName(world.packet(PORT_INSIDE, tcp({ ...out, flags: "S", seq })))).toBe("answered");
      const { body } = see(world.takeOne().frame).ip!;
      const ack = new DataView(body.buffer, body.byteOffset).getUint32(4) + 1;
      expect(verdictName(world.packet(PORT_INSIDE, tcp({ ...out, flags: "A", seq: seq + 1, ack })))).toBe(
        "forwarded",
      );
    }
    const { from, sport } = see(world.takeOne().frame).ip!;
    const answer = tcp({ from: SERVER, to: from, sport: 80, dport: sport, flags: "SA", ack: NEW_ISN + 1 });
    expect(verdictName(world.packet(PORT_OUTSIDE, answer))).toBe("forwarded");
    // The connection and what the proxy remembers of it.
    expect(world.table.used).toBe(used + 2);
    expect(world.lost()).toBe(0);
  });
});

/** A world with some 60 ports for TCP to one server in each of its slots: the client's, and others to borrow from. */
function crowded(slots: number): World {
  const view = standaloneView(1024);
  const slot = slotOfAddress(TEST_KEY, 1024, words(CLIENT), 0);
  for (let other = 0; other < 1024; other++) {
    if (((other - slot) & 1023) >= slots) view.state[other] = SLOT_REMOTE;
  }
  return new World({ policy: natPolicy(), view });
}
