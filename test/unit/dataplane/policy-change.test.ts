/** Another policy, and flows that were let in before it: what goes on with them, and what does not. */
import { describe, expect, test } from "vitest";
import {
  HELPER_FTP,
  HELPER_SIP,
  HELPER_TFTP,
  type PolicyModel,
} from "../../../src/dataplane/policy-model.ts";
import { see, tcp, udp } from "./frames.ts";
import { Pair } from "./pair.ts";
import {
  INSIDE,
  LAB_POLICY,
  LAN_B,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  rule,
  twoLans,
  verdictName,
  World,
} from "./world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";
const text = (line: string): Uint8Array => Uint8Array.from(Buffer.from(line, "latin1"));

const outwards = { fromZone: INSIDE, toZone: OUTSIDE };
const ALL_HELPERS = HELPER_FTP | HELPER_TFTP | HELPER_SIP;
const SIP = ["branch=z9hG4bK1", "From: <sip:a@x>;tag=1", "To: <sip:a@x>", "Call-ID: 1", "CSeq: 1 REGISTER"];

/** Without NAT: the rules are all that tells. */
function routed(...rules: PolicyModel["rules"]): PolicyModel {
  return { ...LAB_POLICY, snat: [], dnat: [], rules };
}

const HELPED = routed(rule(0, { ...outwards, helpers: ALL_HELPERS }));

function use(world: World, policy: PolicyModel): void {
  world.engine.usePolicy(policy, new Float64Array(policy.rules.length + 1));
}

/** The client registers for an hour at the server. */
function register(world: World): void {
  const lines = ["REGISTER sip:198.51.100.100 SIP/2.0", `Via: SIP/2.0/UDP ${CLIENT}:5060;${SIP[0]}`];
  lines.push(
    ...SIP.slice(1),
    `Contact: <sip:a@${CLIENT}:5060>`,
    "Expires: 3600",
    "Content-Length: 0",
    "",
    "",
  );
  const asked = text(lines.join("\r\n"));
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5060, dport: 5060, payload: asked }));
}

/** A call to the registered contact, from the registrar's address and another port. */
function call(): Uint8Array {
  return udp({ from: SERVER, to: CLIENT, sport: 5061, dport: 5060, payload: text("INVITE x") });
}

/** Whether a packet, from outside unless told, reaches the client, perhaps after its address was asked for. */
function reaches(world: World, packet: Uint8Array, port = PORT_OUTSIDE): boolean {
  world.take();
  world.packet(port, packet);
  return world.take().some((sent) => sent.port !== PORT_OUTSIDE && see(sent.frame).ip?.to === CLIENT);
}

describe("helpers of a flow", () => {
  const shifted = routed(
    rule(0, { fromZone: OUTSIDE, toZone: OUTSIDE }),
    rule(1, { ...outwards, helpers: ALL_HELPERS }),
  );

  test("stay its own when rules get other numbers: a registration outlives its flow's time-out (RFC 3261 section 10.2.1)", () => {
    const world = new World({ policy: HELPED });
    register(world);
    use(world, shifted);
    for (let i = 0; i < 300; i++) world.tick(1000);
    expect(world.count("expectationsNow")).toBe(1);
    expect(reaches(world, call())).toBe(true);
  });

  test("stay its own on a backup that has another policy already", () => {
    const pair = new Pair(HELPED);
    pair.assign(2, () => 1);
    register(pair.one);
    pair.settle();
    use(pair.two, shifted);
    pair.assign(3, () => 2);
    for (let i = 0; i < 300; i++) pair.two.tick(1000);
    expect(reaches(pair.two, call())).toBe(true);
  });

  test("do not come over a flow of another rule: a fenced node goes on forwarding it", () => {
    const world = new World({ policy: routed(rule(0, outwards)) });
    const client = { from: CLIENT, to: SERVER, sport: 5000, dport: 22 };
    const server = { from: SERVER, to: CLIENT, sport: 22, dport: 5000 };
    world.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100 }));
    world.packet(PORT_OUTSIDE, tcp({ ...server, flags: "SA", seq: 900, ack: 101 }));
    world.packet(PORT_INSIDE, tcp({ ...client, flags: "A", seq: 101, ack: 901 }));
    const ftp = { protocol: 6, destinationPorts: [{ from: 21, to: 21 }], helpers: HELPER_FTP };
    use(world, routed(rule(0, { ...outwards, ...ftp }), rule(1, outwards)));
    world.view.leaseUntilMs[0] = 0;
    const data = tcp({ ...client, flags: "PA", seq: 101, ack: 901, payload: text("ls") });
    expect(verdictName(world.packet(PORT_INSIDE, data))).toBe("forwarded_shared");
  });

  test("end with the rule's: what was announced before is not expected any more", () => {
    const world = new World({ policy: HELPED });
    register(world);
    expect(world.count("expectationsNow")).toBe(1);
    use(world, routed(rule(0, { ...outwards, helpers: HELPER_FTP | HELPER_TFTP })));
    const note = udp({ from: CLIENT, to: SERVER, sport: 5060, dport: 5060, payload: text("\r\n\r\n") });
    expect(verdictName(world.packet(PORT_INSIDE, note))).toBe("forwarded");
    expect(world.count("expectationsNow")).toBe(0);
    expect(verdictName(world.packet(PORT_OUTSIDE, call()))).toBe("denied");
  });
});

describe("an expectation", () => {
  const request = Uint8Array.from([0, 1, ...text("file"), 0, ...text("octet"), 0]);
  const ask = udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 69, payload: request });
  const answer = udp({ from: SERVER, to: CLIENT, sport: 3333, dport: 4000 });

  test("is void when no rule lets its flow be, which then ends (RFC 1350 section 4)", () => {
    const world = new World({ policy: HELPED });
    world.packet(PORT_INSIDE, ask);
    use(world, routed());
    expect(verdictName(world.packet(PORT_OUTSIDE, answer))).toBe("denied");
    expect(world.table.used).toBe(0);
    expect(world.count("policyEnded")).toBe(1);
  });

  test("is void when its flow's rule has another helper", () => {
    const world = new World({ policy: HELPED });
    world.packet(PORT_INSIDE, ask);
    use(world, routed(rule(0, { ...outwards, helpers: HELPER_FTP | HELPER_SIP })));
    expect(verdictName(world.packet(PORT_OUTSIDE, answer))).toBe("denied");
    expect(world.count("expectationsNow")).toBe(0);
    expect(verdictName(world.packet(PORT_INSIDE, ask))).toBe("forwarded");
  });

  test("of a data connection is void too, although nothing passes on the control connection (RFC 959 section 3.2)", () => {
    const world = new World({ policy: HELPED });
    const client = { from: CLIENT, to: SERVER, sport: 5000, dport: 21 };
    world.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100 }));
    const server = { from: SERVER, to: CLIENT, sport: 21, dport: 5000 };
    world.packet(PORT_OUTSIDE, tcp({ ...server, flags: "SA", seq: 900, ack: 101 }));
    world.packet(PORT_INSIDE, tcp({ ...client, flags: "A", seq: 101, ack: 901 }));
    const payload = text("PORT 10,10,0,2,195,80\r\n");
    world.packet(PORT_INSIDE, tcp({ ...client, flags: "PA", seq: 101, ack: 901, payload }));
    expect(world.count("expectationsNow")).toBe(1);
    use(world, routed());
    const data = { from: SERVER, to: CLIENT, sport: 20, dport: 195 * 256 + 80 };
    expect(verdictName(world.packet(PORT_OUTSIDE, tcp({ ...data, flags: "S", seq: 7 })))).toBe("denied");
    expect(world.table.used).toBe(0);
  });

  test("holds under a policy that allows the same", () => {
    const world = new World({ policy: HELPED });
    world.packet(PORT_INSIDE, ask);
    use(world, routed(rule(0, { fromZone: OUTSIDE, toZone: OUTSIDE }), { ...HELPED.rules[0]!, id: 1 }));
    expect(reaches(world, answer)).toBe(true);
  });
});

describe("a flow that came of an expectation", () => {
  const request = Uint8Array.from([0, 1, ...text("file"), 0, ...text("octet"), 0]);
  const answer = udp({ from: SERVER, to: CLIENT, sport: 3333, dport: 4000 });
  const next = udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 3333 });
  const helped = { ...outwards, helpers: ALL_HELPERS };
  const other = rule(0, { fromZone: OUTSIDE, toZone: OUTSIDE, name: "other" });

  /** A world with a TFTP transfer under way, allowed by the rule "rule-0". */
  function transfer(world = new World({ policy: HELPED })): World {
    world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 69, payload: request }));
    expect(reaches(world, answer)).toBe(true);
    expect(world.count("expectationsUsed")).toBe(1);
    return world;
  }

  test("ends with the rule", () => {
    const world = transfer();
    use(world, routed());
    expect(verdictName(world.packet(PORT_OUTSIDE, answer))).toBe("denied");
    expect(verdictName(world.packet(PORT_INSIDE, next))).toBe("denied");
  });

  test("ends when the rule denies, or asks for its helper no more", () => {
    for (const part of [{ action: 0 }, { helpers: HELPER_FTP | HELPER_SIP }, { helpers: 0 }] as const) {
      const world = transfer();
      use(world, routed(rule(0, { ...helped, ...part })));
      expect(verdictName(world.packet(PORT_OUTSIDE, answer))).toBe("denied");
    }
  });

  const moved = { ...rule(0, helped), id: 1 };

  test("goes on under the rule's name, whatever its number is, through any number of policies", () => {
    const world = transfer();
    for (let i = 0; i < 30; i++) {
      use(world, i % 2 === 0 ? routed(other, moved) : routed(moved, other));
      expect(reaches(world, answer)).toBe(true);
    }
  });

  test("ends when it was silent for so many policies that its own is forgotten", () => {
    for (const [policies, isKept] of [
      [15, true],
      [16, false],
    ] as const) {
      const world = transfer();
      for (let i = 0; i < policies; i++) use(world, routed(moved));
      expect(reaches(world, answer)).toBe(isKept);
    }
  });

  test("of a call to a registration has the helpers of now, and ends with SIP (RFC 3261 section 16.6)", () => {
    const world = new World({ policy: HELPED });
    register(world);
    expect(reaches(world, call())).toBe(true);
    use(world, routed(other, moved));
    expect(reaches(world, call())).toBe(true);
    use(world, routed(other, { ...moved, helpers: HELPER_TFTP }));
    expect(verdictName(world.packet(PORT_OUTSIDE, call()))).toBe("denied");
  });

  test("does not take another rule with helpers for its own", () => {
    const world = transfer();
    use(world, routed(rule(0, { ...helped, name: "another" })));
    expect(verdictName(world.packet(PORT_OUTSIDE, answer))).toBe("denied");
  });

  test("goes on at a backup that takes over, with its rule's present number", () => {
    const pair = new Pair(HELPED);
    pair.assign(2, () => 1);
    transfer(pair.one);
    pair.settle();
    for (const world of pair.worlds) use(world, routed(other, moved));
    expect(reaches(pair.one, answer)).toBe(true);
    pair.settle();
    pair.assign(3, () => 2);
    expect(reaches(pair.two, answer)).toBe(true);
    use(pair.two, routed());
    expect(reaches(pair.two, answer)).toBe(false);
  });
});

describe("rules that ask for the second interface of a zone", () => {
  const byLanB = { ...outwards, interfaces: [LAN_B] };
  const byLanA = { ...outwards, interfaces: [PORT_INSIDE] };
  const ours = { from: CLIENT, to: SERVER, sport: 5000, dport: 53 };
  const theirs = { from: SERVER, to: CLIENT, sport: 53, dport: 5000 };

  function twoLanWorld(...rules: PolicyModel["rules"]): World {
    const policy = twoLans(routed(...rules));
    const world = new World({ policy });
    world.packet(LAN_B, udp(ours));
    expect(world.table.used).toBe(1);
    return world;
  }

  test("let go on what came by it, also when its peer speaks first under the new policy", () => {
    const world = twoLanWorld(rule(0, byLanB));
    for (let i = 0; i < 3; i++) use(world, world.policy);
    for (let i = 0; i < 3; i++) expect(reaches(world, udp(theirs))).toBe(true);
    expect(world.count("policyRechecked")).toBe(0);
    expect(verdictName(world.packet(LAN_B, udp(ours)))).toBe("forwarded");
    expect(reaches(world, udp(theirs))).toBe(true);
    expect(world.count("policyRechecked")).toBe(1);
  });

  test("end what came by it and may not any more at the first packet that comes by it", () => {
    const world = twoLanWorld(rule(0, outwards));
    use(world, twoLans(routed(rule(0, byLanA))));
    expect(reaches(world, udp(theirs))).toBe(true);
    expect(verdictName(world.packet(LAN_B, udp(ours)))).toBe("denied");
    expect(reaches(world, udp(theirs))).toBe(false);
    expect([world.count("policyRechecked"), world.count("policyEnded")]).toEqual([1, 1]);
  });

  test("end at once what may come by no interface of the zone", () => {
    const world = twoLanWorld(rule(0, outwards));
    use(world, twoLans(routed(rule(0, { ...outwards, interfaces: [PORT_OUTSIDE] }))));
    expect(verdictName(world.packet(PORT_OUTSIDE, udp(theirs)))).toBe("denied");
    expect(world.table.used).toBe(0);
  });

  test("are asked once only when every interface gets the same answer", () => {
    const world = twoLanWorld(rule(0, outwards));
    use(world, world.policy);
    for (let i = 0; i < 3; i++) expect(reaches(world, udp(theirs))).toBe(true);
    expect(world.count("policyRechecked")).toBe(1);
  });

  test("keep what was announced on it under its rule's name, whose number is not looked at before it comes", () => {
    const request = Uint8Array.from([0, 1, ...text("file"), 0, ...text("octet"), 0]);
    const helped = rule(0, { ...byLanB, helpers: ALL_HELPERS });
    const other = rule(0, { fromZone: OUTSIDE, toZone: OUTSIDE, name: "other" });
    const moved = twoLans(routed(other, { ...helped, id: 1 }));
    const world = new World({ policy: twoLans(routed(helped)) });
    world.packet(LAN_B, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 69, payload: request }));
    use(world, moved);
    const answer = udp({ from: SERVER, to: CLIENT, sport: 3333, dport: 4000 });
    for (let i = 0; i < 3; i++) {
      expect(reaches(world, answer)).toBe(true);
      use(world, moved);
    }
  });

  test("in a zone that talks to itself, an answer does not tell the asker's interface", () => {
    const within = { fromZone: INSIDE, toZone: INSIDE };
    const other = "10.10.0.3";
    const world = new World({ policy: twoLans(routed(rule(0, { ...within, interfaces: [LAN_B] }))) });
    const asked = udp({ from: CLIENT, to: other, sport: 1, dport: 2 });
    world.packet(LAN_B, asked);
    use(world, world.policy);
    const answer = udp({ from: other, to: CLIENT, sport: 2, dport: 1 });
    expect(reaches(world, answer, PORT_INSIDE)).toBe(true);
    use(world, twoLans(routed(rule(0, { ...within, interfaces: [PORT_INSIDE] }))));
    expect(verdictName(world.packet(LAN_B, asked))).toBe("denied");
  });

  test("keep a port open that is filtered by nobody, until its host speaks by another one", () => {
    const snat = [{ ...LAB_POLICY.snat[0]!, isEndpointIndependent: true, isFilteringIndependent: true }];
    const open = (part: object): PolicyModel => twoLans({ ...routed(rule(0, part)), snat });
    const world = new World({ policy: open(byLanB) });
    world.packet(LAN_B, udp(ours));
    const mapped = see(world.take().at(-1)!.frame).ip!;
    const stranger = { from: "203.0.113.77", to: mapped.from, sport: 999, dport: mapped.sport };
    const answer = { from: CLIENT, to: stranger.from, sport: 5000, dport: 999 };
    expect(reaches(world, udp(stranger))).toBe(true);
    use(world, world.policy);
    expect(reaches(world, udp(stranger))).toBe(true);
    expect(reaches(world, udp({ ...stranger, sport: 1000 }))).toBe(true);
    world.packet(LAN_B, udp(answer));
    expect([world.count("policyRechecked"), world.count("policyEnded")]).toEqual([1, 0]);
    use(world, open(byLanA));
    expect(reaches(world, udp(stranger))).toBe(true);
    expect(verdictName(world.packet(LAN_B, udp(answer)))).toBe("denied");
  });
});
