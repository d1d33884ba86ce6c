/** A new flow in a full table: who makes way for it, and for what it needs beside its own row. */
import { describe, expect, test } from "vitest";
import { HELPER_SIP, HELPER_TFTP, type PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { udp } from "./frames.ts";
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
});
