/** A new flow in a full table: who makes way for it, and for what it needs beside its own row. */

import { describe, expect, test } from "vitest";
import { NO_PROTECTION } from "../../../src/dataplane/defence/defence.ts";
import { HELPER_SIP, HELPER_TFTP, type PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { see, tcp, udp } from "./frames.ts";
import { INSIDE, LAB_POLICY, OUTSIDE, PORT_INSIDE, PORT_OUTSIDE, rule, verdictName, World } from "./world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";
const text = (line: string): Uint8Array => Uint8Array.from(Buffer.from(line, "latin1"));

/** Without NAT and port forwards. */
const ROUTED: PolicyModel = {
  ...LAB_POLICY,
  snat: [],
  dnat: [],
  rules: [rule(0, { fromZone: INSIDE, toZone: OUTSIDE, helpers: HELPER_TFTP | HELPER_SIP })],
};

const BOUND: PolicyModel = {
  ...LAB_POLICY,
  dnat: [],
  snat: [{ ...LAB_POLICY.snat[0]!, isEndpointIndependent: true }],
  rules: [rule(0, { fromZone: INSIDE, toZone: OUTSIDE })],
};

describe("a full table", () => {
  test("an expected flow for which its own master made way is dropped, and the next one is no part of it (RFC 1350 section 4)", () => {
    const world = new World({ policy: ROUTED, capacity: 2 });
    const request = Uint8Array.from([0, 1, ...text("file\0octet\0")]);
    world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 69, payload: request }));
    expect({ used: world.table.used, expectations: world.count("expectationsNow") }).toEqual({
      used: 2,
      expectations: 1,
    });
    const data = udp({ from: SERVER, to: CLIENT, sport: 3333, dport: 4000 });
    expect(verdictName(world.packet(PORT_OUTSIDE, data))).toBe("table_full");
    expect({ used: world.table.used, expectations: world.count("expectationsNow") }).toEqual({
      used: 0,
      expectations: 0,
    });
    expect(verdictName(world.packet(PORT_OUTSIDE, data))).toBe("denied");
    expect(world.lost()).toBe(0);
  });

  test("a binding and its flow each find a row: one flow makes way for both when its binding's row was not free", () => {
    const world = new World({ policy: { ...BOUND, snat: [] }, capacity: 2 });
    for (const sport of [4000, 4001]) {
      world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport, dport: 53 }));
    }
    world.engine.usePolicy(BOUND, new Float64Array(2));
    const next = udp({ from: "10.10.0.3", to: SERVER, sport: 4002, dport: 53 });
    expect(verdictName(world.packet(PORT_INSIDE, next))).toBe("forwarded");
    expect({ used: world.table.used, satellites: world.count("satellitesNow") }).toEqual({
      used: 2,
      satellites: 1,
    });
    // The flow is there, with its binding.
    expect(verdictName(world.packet(PORT_INSIDE, next))).toBe("forwarded");
    expect(world.count("flowsCreated")).toBe(3);
    expect(world.count("flowsEnded")).toBe(2);
  });

  test("a binding is not taken for the flow that made way for it", () => {
    const world = new World({ policy: { ...BOUND, snat: [] }, capacity: 1 });
    world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
    world.engine.usePolicy(BOUND, new Float64Array(2));
    const next = udp({ from: "10.10.0.3", to: SERVER, sport: 4001, dport: 53 });
    expect(verdictName(world.packet(PORT_INSIDE, next))).toBe("table_full");
    expect({ used: world.table.used, satellites: world.count("satellitesNow") }).toEqual({
      used: 1,
      satellites: 1,
    });
  });

  test("connections that prove their address leave the reserve alone while unassured flows can make way for both of their rows", () => {
    const protection = { ...NO_PROTECTION, synProxyAbove: 3, reservePercent: 10 };
    const world = new World({ policy: { ...ROUTED, protection }, capacity: 100 });
    for (let i = 0; i < 200; i++) {
      world.packet(PORT_INSIDE, udp({ from: "10.10.0.9", to: SERVER, sport: 8000 + i, dport: 53 }));
    }
    world.tick(5);
    for (let i = 0; i < 5; i++) {
      const forged = { from: "10.10.0.9", to: SERVER, sport: 7000 + i, dport: 80 };
      world.packet(PORT_INSIDE, tcp({ ...forged, flags: "S" }));
    }
    world.take();
    expect(world.table.used).toBe(90);
    const verdicts = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const client = { from: "10.10.0.20", to: SERVER, sport: 9000 + i, dport: 443 };
      world.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100 }));
      const { body } = see(world.take().at(-1)!.frame).ip!;
      const cookie = new DataView(body.buffer, body.byteOffset).getUint32(4);
      const ack = tcp({ ...client, flags: "A", seq: 101, ack: (cookie + 1) >>> 0 });
      verdicts.add(verdictName(world.packet(PORT_INSIDE, ack)));
      world.take();
      expect(world.table.used).toBeLessThanOrEqual(90);
    }
    expect([...verdicts]).toEqual(["forwarded"]);
  });

  test("a flow never makes way for its own satellite", () => {
    const protection = { ...NO_PROTECTION, synProxyAbove: 1 };
    for (let seed = 1; seed < 20; seed++) {
      const world = new World({ policy: { ...ROUTED, protection }, capacity: 3, seed });
      world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
      for (const sport of [7000, 7001]) {
        world.packet(PORT_INSIDE, tcp({ from: "10.10.0.9", to: SERVER, sport, dport: 80, flags: "S" }));
      }
      world.take();
      const client = { from: "10.10.0.20", to: SERVER, sport: 9000, dport: 443 };
      world.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100 }));
      const { body } = see(world.take().at(-1)!.frame).ip!;
      const cookie = new DataView(body.buffer, body.byteOffset).getUint32(4);
      const ack = tcp({ ...client, flags: "A", seq: 101, ack: (cookie + 1) >>> 0 });
      expect(verdictName(world.packet(PORT_INSIDE, ack))).toBe("forwarded");
      expect({ used: world.table.used, satellites: world.count("satellitesNow") }).toEqual({
        used: 3,
        satellites: 1,
      });
    }
  });
});
