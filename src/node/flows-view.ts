/**
 * Flows view: flows of the shared table as operators read them. Owns the filter's checks and the words; reading is
 * dataplane/flow-reader.ts.
 */

import type { Address } from "../base/address.ts";
import { SynwallError } from "../base/errors.ts";
import type { FlowEnd, FlowQuery, FlowReader, FlowSnapshot } from "../dataplane/flow-reader.ts";
import { isSatellite, satelliteName } from "../dataplane/satellites.ts";
import { PROTOCOL_ICMP } from "../packet/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../packet/ipv6.ts";
import { formatAddress, formatEnd, parseAddress } from "../policy/address.ts";
import { formatProtocol, parseProtocol } from "../policy/protocols.ts";
import type { AdminMethods, FlowFilter, FlowView } from "./admin-model.ts";

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 100_000;

export interface FlowContext {
  readonly selfId: number;
  /** By slot: owner's node id. */
  readonly owners: readonly number[];
  readonly memberName: (id: number) => string;
  /** By its index, and the policy that it is of (FlowSnapshot). */
  readonly ruleName: (index: number, policy: number) => string;
  readonly nowMs: number;
}

export function listFlows(
  reader: FlowReader,
  filter: FlowFilter,
  context: FlowContext,
): AdminMethods["flows.list"]["result"] {
  const limit = filter.limit ?? LIMIT_DEFAULT;
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) {
    throw badFilter("limit", limit, `a whole number from 1 to ${LIMIT_MAX}`);
  }
  const { flows, total } = reader.list(queryOf(filter, context), limit);
  return { flows: flows.map((flow) => view(flow, context)), total };
}

export function countFlows(
  reader: FlowReader,
  filter: FlowFilter,
  context: FlowContext,
): AdminMethods["flows.count"]["result"] {
  const { total, bySlot, byProtocol } = reader.count(queryOf(filter, context));
  let own = 0;
  for (const [slot, owner] of context.owners.entries()) if (owner === context.selfId) own += bySlot[slot]!;
  const named: Record<string, number> = {};
  for (const [protocol, count] of byProtocol.entries()) if (count > 0) named[protocolName(protocol)] = count;
  return { total, own, replica: total - own, byProtocol: named };
}

function queryOf(filter: FlowFilter, { owners, selfId }: FlowContext): FlowQuery {
  const { protocol, source, destination, port, slot, role } = filter;
  if (port !== undefined && !isWhole(port, 65_535)) throw badFilter("port", port, "0..65535");
  if (slot !== undefined && !isWhole(slot, owners.length - 1))
    throw badFilter("slot", slot, `0..${owners.length - 1}`);
  if (role !== undefined && role !== "own" && role !== "replica")
    throw badFilter("role", role, "own or replica");
  return {
    isConnection: filter.all !== true,
    ...(protocol === undefined ? {} : protocolQuery(protocolNumber(protocol))),
    ...(source === undefined ? {} : { source: addressOf("source", source) }),
    ...(destination === undefined ? {} : { destination: addressOf("destination", destination) }),
    ...(port === undefined ? {} : { port }),
    ...(slot === undefined ? {} : { slot }),
    ...(role === undefined
      ? {}
      : { slots: Uint8Array.from(owners, (owner) => ((owner === selfId) === (role === "own") ? 1 : 0)) }),
  };
}

function view(flow: FlowSnapshot, context: FlowContext): FlowView {
  const owner = context.owners[flow.slot] ?? 0;
  return {
    protocol: nameOf(flow),
    state: flow.state,
    original: { source: endText(flow.original.source), destination: endText(flow.original.destination) },
    reply: { source: endText(flow.reply.source), destination: endText(flow.reply.destination) },
    slot: flow.slot,
    owner: owner === 0 ? "" : context.memberName(owner),
    isReplica: owner !== context.selfId,
    ageMs: Math.max(0, context.nowMs - flow.createdAtMs),
    expiresInMs: Math.max(0, flow.deadlineMs - context.nowMs),
    rule: isSatellite(flow.protocol) ? "" : context.ruleName(flow.rule, flow.policy),
  };
}

/** Flows of ICMPv6 are kept as ICMP, and told by their addresses. */
function protocolQuery(protocol: number): Pick<FlowQuery, "protocol" | "isIpv6"> {
  if (protocol === PROTOCOL_ICMPV6) return { protocol: PROTOCOL_ICMP, isIpv6: true };
  return protocol === PROTOCOL_ICMP ? { protocol, isIpv6: false } : { protocol };
}

function protocolNumber(text: string): number {
  const number = parseProtocol(text) ?? Number(text);
  if (!isWhole(number, 255)) throw badFilter("protocol", text, "tcp, udp, icmp or a number 0..255");
  return number;
}

function addressOf(field: string, text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw badFilter(field, text, "an IP address like 10.10.0.2 or 2001:db8::2");
  return address;
}

/** ICMPv6 is kept as ICMP: the addresses tell. */
function nameOf({ protocol, original }: FlowSnapshot): string {
  const isIcmpv6 = protocol === PROTOCOL_ICMP && typeof original.source.address === "bigint";
  return protocolName(isIcmpv6 ? PROTOCOL_ICMPV6 : protocol);
}

function protocolName(protocol: number): string {
  return satelliteName(protocol) ?? formatProtocol(protocol);
}

/** Port 0 is none: the far end of an echo, a protocol without ports, whoever a binding is open to. */
function endText({ address, port }: FlowEnd): string {
  return port === 0 ? formatAddress(address) : formatEnd(address, port);
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

function badFilter(field: string, value: unknown, need: string): SynwallError {
  return new SynwallError("SW_ADMIN_BAD_REQUEST", `${field}: ${JSON.stringify(value)} is not ${need}`);
}
