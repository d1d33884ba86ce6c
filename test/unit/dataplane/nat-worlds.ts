/**
 * Worlds for tests of NAT: policies with one kind of NAT each on the dual-stack lab, and short ways to send and to see.
 */
import type { PolicyModel, SnatModel } from "../../../src/dataplane/policy-model.ts";
import { dotted, ip, ip6, type SeenIp, see } from "./frames.ts";
import { DUAL_POLICY, INSIDE, OUTSIDE, prefix, rule, World, type WorldOptions } from "./world.ts";

export const CLIENT = "10.10.0.2";
export const CLIENT6 = "2001:db8:10::2";
export const SERVER = "198.51.100.100";
export const OTHER_SERVER = "198.51.100.101";
export const SERVER6 = "2001:db8:f::64";
export const POOL = "198.51.100.10";
export const NAT64_PREFIX = "64:ff9b::";

/** An IPv4 address as one of the well-known prefix. */
export function embedded(address: string): string {
  const value = ip(address);
  return `64:ff9b::${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

/** The IPv4 address in the last 32 bits of an IPv6 address. */
export function extracted(address: string): string {
  return dotted(Number(ip6(address) & 0xffff_ffffn));
}

/** The dual-stack lab with one pool address, and everything allowed from inside to outside. */
export function natPolicy(part: Partial<PolicyModel> = {}): PolicyModel {
  return {
    ...DUAL_POLICY,
    snat: [entry()],
    dnat: [],
    answered: [{ zone: OUTSIDE, address: ip(POOL) }],
    rules: [rule(0, { fromZone: INSIDE, toZone: OUTSIDE })],
    ...part,
  };
}

export function entry(part: Partial<SnatModel> = {}): SnatModel {
  return { fromZone: INSIDE, toZone: OUTSIDE, sources: [], pool: [ip(POOL)], ...part };
}

export function nat64Policy(part: Partial<PolicyModel> = {}): PolicyModel {
  return natPolicy({
    snat: [],
    nat64: [{ fromZone: INSIDE, toZone: OUTSIDE, prefix: prefix("64:ff9b::/96"), pool: [ip(POOL)] }],
    ...part,
  });
}

export function natWorld(policy: PolicyModel, options: WorldOptions = {}): World {
  return new World({ policy, capacity: 8192, ...options });
}

/** Sends a packet and returns the one that left; what left before is forgotten. */
export function pass(world: World, port: number, packet: Uint8Array, by?: string): SeenIp {
  world.take();
  world.packet(port, packet, by);
  return see(world.takeOne().frame).ip!;
}

/** The IP packet in a frame. */
export function packetOf(frame: Uint8Array): Uint8Array {
  return frame.slice(14);
}
