/**
 * The two families for the tests of docs/pp-module.md: a firewall without NAT that has the same networks in IPv4 and IPv6, so that
 * each line is shown for both by one test.
 */
import type { PolicyModel, RuleModel } from "../../../src/dataplane/policy-model.ts";
import { internetChecksum, type TcpSpec, tcp } from "../dataplane/frames.ts";
import {
  DUAL_POLICY,
  INSIDE,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  rule,
  verdictName,
  World,
  type WorldOptions,
} from "../dataplane/world.ts";

export interface Family {
  readonly name: string;
  readonly isIpv6: boolean;
  readonly client: string;
  readonly client2: string;
  readonly server: string;
  readonly server2: string;
  /** The cluster's addresses inside and outside. */
  readonly gateway: string;
  readonly outerGateway: string;
  /** All the world in this family. */
  readonly all: string;
  readonly icmpProtocol: number;
}

export const IPV4: Family = {
  name: "IPv4",
  isIpv6: false,
  client: "10.10.0.2",
  client2: "10.10.0.3",
  server: "198.51.100.100",
  server2: "198.51.100.101",
  gateway: "10.10.0.1",
  outerGateway: "198.51.100.1",
  all: "0.0.0.0/0",
  icmpProtocol: 1,
};

export const IPV6: Family = {
  name: "IPv6",
  isIpv6: true,
  client: "2001:db8:10::2",
  client2: "2001:db8:10::3",
  server: "2001:db8:f::64",
  server2: "2001:db8:f::65",
  gateway: "2001:db8:10::1",
  outerGateway: "2001:db8:f::1",
  all: "::/0",
  icmpProtocol: 58,
};

export const FAMILIES = [IPV4, IPV6];

/** Rules by order; what is not given is any. */
export function rules(...parts: readonly Partial<RuleModel>[]): RuleModel[] {
  return parts.map((part, id) => rule(id, part));
}

export const OUTWARD = { fromZone: INSIDE, toZone: OUTSIDE };

/** Inside may go out, nothing comes in; no NAT. */
export const PLAIN: PolicyModel = {
  ...DUAL_POLICY,
  snat: [],
  dnat: [],
  answered: [],
  rules: rules(OUTWARD),
};

export function world(part: Partial<PolicyModel> = {}, options: Omit<WorldOptions, "policy"> = {}): World {
  return new World({ ...options, policy: { ...PLAIN, ...part } });
}

/** The verdict of a packet that `by` sends; what waited only until its neighbour answered counts as forwarded. */
export function verdict(firewall: World, packet: Uint8Array, port = PORT_INSIDE, by?: string): string {
  const before = firewall.sent.length;
  const name = verdictName(firewall.packet(port, packet, by));
  return name === "held" && firewall.sent.length > before ? "forwarded" : name;
}

/** The IP packets that left, without ARP, neighbour discovery and what the firewall says itself about a refusal. */
export function passed(firewall: World): Uint8Array[] {
  return firewall
    .take()
    .map(({ frame }) => frame)
    .filter((frame) => (frame[12] === 0x08 ? frame[13] === 0 : frame[12] === 0x86 && frame[20] !== 58));
}

/** A TCP connection as its two ends see it. */
export class Connection {
  readonly #firewall: World;
  readonly #out: Omit<TcpSpec, "flags">;
  readonly #in: Omit<TcpSpec, "flags">;

  constructor(firewall: World, family: Family, sport = 40_000, dport = 443) {
    this.#firewall = firewall;
    this.#out = { from: family.client, to: family.server, sport, dport };
    this.#in = { from: family.server, to: family.client, sport: dport, dport: sport };
  }

  client(flags: string, seq: number, ack = 0, payload = new Uint8Array(0)): string {
    return verdict(this.#firewall, tcp({ ...this.#out, flags, seq, ack, payload }));
  }

  server(flags: string, seq: number, ack = 0, payload = new Uint8Array(0)): string {
    return verdict(this.#firewall, tcp({ ...this.#in, flags, seq, ack, payload }), PORT_OUTSIDE);
  }

  /** The handshake: the client is at 101, the server at 901. */
  open(): this {
    this.client("S", 100);
    this.server("SA", 900, 101);
    this.client("A", 101, 901);
    return this;
  }

  /** Both sides say FIN and acknowledge it: the client is at 102, the server at 902. */
  close(): this {
    this.client("FA", 101, 901);
    this.server("FA", 901, 102);
    this.client("A", 102, 902);
    return this;
  }
}

/** A packet cut into fragments of `size` bytes of payload (a multiple of 8). */
export function fragments(packet: Uint8Array, size: number, id = 7): Uint8Array[] {
  const isIpv6 = packet[0]! >> 4 === 6;
  const header = packet.subarray(0, isIpv6 ? 40 : 20);
  const payload = packet.subarray(header.length);
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < payload.length; from += size) {
    const part = payload.subarray(from, from + size);
    pieces.push(fragment(header, part, from, from + size < payload.length, id));
  }
  return pieces;
}

/** One fragment: `part` at byte `offset` of the datagram whose header is given. */
export function fragment(
  header: Uint8Array,
  part: Uint8Array,
  offset: number,
  hasMore: boolean,
  id: number,
): Uint8Array {
  const head = header.slice();
  if (head[0]! >> 4 === 6) {
    const field = offset | (hasMore ? 1 : 0);
    head.set([(8 + part.length) >> 8, (8 + part.length) & 255], 4);
    head[6] = 44;
    return Uint8Array.from([...head, header[6]!, 0, field >> 8, field & 255, 0, 0, 0, id, ...part]);
  }
  const field = (offset >> 3) | (hasMore ? 0x2000 : 0);
  head.set([(20 + part.length) >> 8, (20 + part.length) & 255], 2);
  head.set([0, id, field >> 8, field & 255], 4);
  head.set([0, 0], 10);
  const sum = internetChecksum(head);
  head.set([sum >> 8, sum & 255], 10);
  return Uint8Array.from([...head, ...part]);
}
