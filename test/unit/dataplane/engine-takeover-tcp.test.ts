import { describe, expect, test } from "vitest";
import type { PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { type TcpSpec, tcp } from "./frames.ts";
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
const POLICY: PolicyModel = {
  ...LAB_POLICY,
  snat: [],
  dnat: [],
  rules: [rule(0, { fromZone: INSIDE, toZone: OUTSIDE })],
};
const SEGMENT = 1000;
const SEGMENTS = 10;
/** The server's first byte. */
const FIRST = 901;
const ALL = FIRST + SEGMENT * SEGMENTS;

type Part = Omit<TcpSpec, "from" | "to" | "sport" | "dport">;

/** Both ends of a connection through a world, established. */
class Ends {
  readonly #after: () => void;
  readonly #port: number;

  /** `port`: the client's. */
  constructor(world: World, after: () => void, port = PORT_INSIDE) {
    this.#after = after;
    this.#port = port;
    this.client(world, { flags: "S", seq: 100 });
    this.server(world, { flags: "SA", seq: 900, ack: 101 });
    this.client(world, { flags: "A", seq: 101, ack: FIRST });
  }

  client(world: World, part: Part): string {
    const segment = tcp({ from: CLIENT, to: SERVER, sport: 5000, dport: 80, ...part });
    return this.#told(world.packet(this.#port, segment));
  }

  server(world: World, part: Part): string {
    const segment = tcp({ from: SERVER, to: CLIENT, sport: 80, dport: 5000, ...part });
    return this.#told(world.packet(PORT_OUTSIDE, segment));
  }

  /** The server's segment of a number, 0 being the first. */
  send(world: World, number: number): string {
    const seq = FIRST + SEGMENT * number;
    return this.server(world, { flags: "A", seq, ack: 101, payload: new Uint8Array(SEGMENT) });
  }

  /** The client acknowledges that many segments. */
  acknowledge(world: World, segments: number): string {
    return this.client(world, { flags: "A", seq: 101, ack: FIRST + SEGMENT * segments });
  }

  #told(verdict: number): string {
    this.#after();
    const name = verdictName(verdict);
    return name === "held" ? "forwarded" : name;
  }
}

function pairOfEnds(policy = POLICY, port = PORT_INSIDE) {
  const pair = new Pair(policy);
  pair.assign(2, () => 1);
  const after = (): void => {
    pair.settle();
    for (const world of pair.worlds) world.tick();
    pair.settle();
  };
  const ends = new Ends(pair.one, after, port);
  return { pair, ends };
}

describe("an answer that the old owner passed on is acknowledged at the new one", () => {
  test("step by step, while the server says nothing", () => {
    const { pair, ends } = pairOfEnds();
    for (let i = 0; i < SEGMENTS; i++) expect(ends.send(pair.one, i)).toBe("forwarded");
    pair.assign(3, () => 2);
    const told = [2, 4, 6, 8, 10].map((segments) => ends.acknowledge(pair.two, segments));
    expect(told).toEqual(Array.from({ length: 5 }, () => "forwarded"));
  });

  test("also when a repetition was the first that the server sent", () => {
    const { pair, ends } = pairOfEnds();
    for (let i = 0; i < SEGMENTS; i++) ends.send(pair.one, i);
    pair.assign(3, () => 2);
    expect(ends.acknowledge(pair.two, 2)).toBe("forwarded");
    // The third was lost behind the firewall; all behind it are at the client already.
    expect(ends.send(pair.two, 2)).toBe("forwarded");
    expect(ends.acknowledge(pair.two, SEGMENTS)).toBe("forwarded");
    expect(ends.server(pair.two, { flags: "PA", seq: ALL, ack: 101, payload: new Uint8Array(5) })).toBe(
      "forwarded",
    );
  });
});

test("an answer that passed while the lease was out is acknowledged", () => {
  const world = new World({ policy: POLICY });
  const ends = new Ends(world, () => {});
  world.view.leaseUntilMs[0] = 0;
  for (let i = 0; i < SEGMENTS; i++) ends.send(world, i);
  world.view.leaseUntilMs[0] = Number.POSITIVE_INFINITY;
  const told = [2, 4, 6, 8, 10].map((segments) => ends.acknowledge(world, segments));
  expect(told.every((name) => name.startsWith("forwarded"))).toBe(true);
});

test("a connection that was tracked all the time may not acknowledge what was never sent", () => {
  const world = new World({ policy: POLICY });
  const ends = new Ends(world, () => {});
  ends.send(world, 0);
  expect(ends.acknowledge(world, 2)).toBe("out_of_window");
  expect(ends.acknowledge(world, 1)).toBe("forwarded");
});

describe("a connection that came by the second interface of its zone, which alone may", () => {
  const byLanB = { fromZone: INSIDE, toZone: OUTSIDE, interfaces: [LAN_B] };
  const policy = twoLans({ ...POLICY, rules: [rule(0, byLanB)] });

  test("lives at the new owner, although the server speaks first", () => {
    const { pair, ends } = pairOfEnds(policy, LAN_B);
    expect(ends.send(pair.one, 0)).toBe("forwarded");
    pair.assign(3, () => 2);
    expect(ends.send(pair.two, 1)).toBe("forwarded");
    expect(ends.acknowledge(pair.two, 2)).toBe("forwarded");
    expect(ends.send(pair.two, 2)).toBe("forwarded");
    expect(pair.two.count("policyEnded")).toBe(0);
  });

  test("ends there at the client's first segment by another one", () => {
    const { pair, ends } = pairOfEnds(policy, LAN_B);
    pair.assign(3, () => 2);
    expect(ends.send(pair.two, 0)).toBe("forwarded");
    const segment = tcp({ from: CLIENT, to: SERVER, sport: 5000, dport: 80, flags: "A", seq: 101, ack: ALL });
    expect(verdictName(pair.two.packet(PORT_INSIDE, segment))).toBe("denied");
    expect(pair.two.count("policyEnded")).toBe(1);
  });
});
