/**
 * Trace: what the first packet of a new flow would meet on its way: DNAT, route, slot, rule, SNAT, and what would become of it.
 * Runs a made-up packet through the real engine in a world of one node. Of a packet that the rules deny, the rest of the way is
 * what it would be if a rule allowed it: a second run with a single accepting rule tells. Owns the questions and the report.
 */
import type { Address } from "../../base/address.ts";
import { SynwallError } from "../../base/errors.ts";
import { type HashKey, hashKeyFrom } from "../../base/hash.ts";
import type { FlowSnapshot } from "../../dataplane/flow-reader.ts";
import {
  ACTION_ACCEPT,
  COMMIT_DEFAULT,
  type PolicyModel,
  type RuleModel,
  type ZoneModel,
} from "../../dataplane/policy-model.ts";
import { dropVerdict, VERDICT_DROP_BASE, verdictName } from "../../dataplane/verdict.ts";
import { formatAddress } from "../../policy/address.ts";
import { Ingress, routesOf, routeTo } from "./ingress.ts";
import { buildPacket } from "./packet-builder.ts";
import { endText, packetText, parseEnd, protocolText } from "./packet-text.ts";
import { viewPacket } from "./packet-view.ts";
import { DEFAULT_RULE } from "./replay.ts";
import { type Outcome, SingleWorld } from "./single-world.ts";
import { verdictAdvice, verdictMeaning } from "./verdict-text.ts";

const PROTOCOL_ICMP = 1;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_ICMPV6 = 58;
const PROTOCOL_SCTP = 132;
const WITH_PORTS = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];
const SOURCE_PORT_DEFAULT = 40_000;
const MTU_BYTES = 1500;
const FLOWS = 16;
const ETHERNET_BYTES = 14;
const DROP_DENIED = dropVerdict("denied");
/** Used where the cluster's own key is not known: everything but the slot and the SNAT port is the same. */
const ANY_KEY = hashKeyFrom(new Uint8Array(32).fill(1));
const ACCEPT_ALL: RuleModel = {
  id: 0,
  name: "trace",
  fromZone: -1,
  toZone: -1,
  sources: [],
  destinations: [],
  protocol: -1,
  sourcePorts: [],
  destinationPorts: [],
  icmpType: -1,
  icmpCode: -1,
  action: ACTION_ACCEPT,
  commit: COMMIT_DEFAULT,
  log: false,
};

/** What is asked, as it is written: also the parameters of the admin method. */
export interface TraceRequest {
  /** Address, or address:port. */
  readonly source: string;
  readonly destination: string;
  /** Protocol number; absent: TCP with a destination port, else an echo. */
  readonly protocol?: number;
  /** Zone or interface through which it enters; absent: where the route back to its source leads. */
  readonly in?: string;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

/** What is known of the firewall that is asked. */
export interface TraceFacts {
  readonly policy: PolicyModel;
  readonly slots: number;
  /** Absent: slots cannot be told, for the reason given. */
  readonly key?: HashKey;
  readonly whyNoSlots?: string;
  /** By port index. */
  readonly portNames: readonly string[];
  readonly ownerOf?: (slot: number) => { readonly owner: string; readonly backup: string };
}

export interface TraceReport {
  readonly packet: string;
  readonly in: { readonly zone: string; readonly interface: string; readonly isGiven: boolean };
  /** Destination before and after; absent without translation. */
  readonly dnat?: { readonly from: string; readonly to: string };
  readonly route?: { readonly to: string; readonly zone: string; readonly nextHop: string };
  readonly slot?: { readonly slot: number; readonly owner?: string; readonly backup?: string };
  /** Why there is no slot. */
  readonly whyNoSlot?: string;
  /** Absent when the packet did not come so far. Number: position in the file, from 1; 0 is the default. */
  readonly rule?: {
    readonly number: number;
    readonly name: string;
    readonly action: "accept" | "drop" | "reject";
  };
  readonly snat?: { readonly from: string; readonly to: string };
  readonly out?: { readonly zone: string; readonly interface: string; readonly packet: string };
  /** What the firewall itself sends to the sender: an answer or an error. */
  readonly answer?: string;
  /** DNAT, route, slot and SNAT are what they would be if a rule accepted the packet. */
  readonly isSupposed: boolean;
  readonly isForwarded: boolean;
  readonly verdict: string;
  readonly meaning: string;
  readonly advice: string;
}

interface Question {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmpType: number;
  readonly icmpCode: number;
}

/** Throws SW_TRACE_INVALID: one line that names the field, its value and the fix. */
export function trace(facts: TraceFacts, request: TraceRequest): TraceReport {
  const question = questionOf(request);
  const { port, zone, isGiven } = ingressOf(facts, request, question.source);
  const packet = buildPacket(question);
  const first = run(facts, facts.policy, port, packet);
  const isSupposed = first.outcome.verdict === DROP_DENIED && first.flow === undefined;
  // Only where the rules were asked and said no: the way behind them.
  const second = isSupposed ? run(facts, { ...facts.policy, rules: [ACCEPT_ALL] }, port, packet) : first;
  const { verdict } = first.outcome;
  const rule = ruleOf(facts.policy, first.outcome);
  return {
    packet: packetText(viewPacket(packet)!),
    in: { zone: zone.name, interface: facts.portNames[port] ?? "", isGiven },
    ...wayOf(facts, question, second),
    ...(rule === undefined ? {} : { rule }),
    ...leavingOf(facts, first),
    isSupposed: isSupposed && second.flow !== undefined,
    isForwarded: verdict < VERDICT_DROP_BASE,
    verdict: verdictName(verdict),
    meaning:
      verdict === DROP_DENIED && rule?.name !== DEFAULT_RULE ? "a rule denies it" : verdictMeaning(verdict),
    advice:
      verdict === DROP_DENIED
        ? denialAdvice(facts, question, zone, rule, second.flow)
        : verdictAdvice(verdict),
  };
}

interface Run {
  readonly outcome: Outcome;
  /** The flow that it made, if it did. */
  readonly flow: FlowSnapshot | undefined;
}

function run(facts: TraceFacts, policy: PolicyModel, port: number, packet: Uint8Array): Run {
  const world = new SingleWorld({
    policy,
    slots: facts.slots,
    key: facts.key ?? ANY_KEY,
    flowsMax: FLOWS,
    mtuBytes: MTU_BYTES,
  });
  world.tick(1);
  const outcome = world.process(port, packet);
  return { outcome, flow: world.flows.list({}, 1).flows[0] };
}

function questionOf(request: TraceRequest): Question {
  const source = endOf("src", request.source);
  const destination = endOf("dst", request.destination);
  if (typeof source.address !== typeof destination.address) {
    throw wrong("dst", request.destination, "an address of the same family as --src");
  }
  const isIpv6 = typeof source.address === "bigint";
  const asked = request.protocol ?? (destination.port === undefined ? PROTOCOL_ICMP : PROTOCOL_TCP);
  const protocol = isIpv6 && asked === PROTOCOL_ICMP ? PROTOCOL_ICMPV6 : asked;
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  const hasPorts = WITH_PORTS.includes(protocol);
  if (hasPorts && destination.port === undefined) {
    throw wrong(
      "dst",
      request.destination,
      `an address with a port for ${protocolText(protocol)}, like ${endText(destination.address, 443)}`,
    );
  }
  if (request.icmpType !== undefined && !isIcmp) {
    throw wrong("icmp-type", request.icmpType, "left out, or used with --proto icmp");
  }
  return {
    source: source.address,
    destination: destination.address,
    protocol,
    sourcePort: source.port ?? SOURCE_PORT_DEFAULT,
    destinationPort: destination.port ?? 0,
    icmpType: request.icmpType ?? (isIpv6 ? 128 : 8),
    icmpCode: request.icmpCode ?? 0,
  };
}

function endOf(field: string, text: string): { address: Address; port: number | undefined } {
  const end = parseEnd(text);
  if (end === undefined) {
    throw wrong(
      field,
      text,
      "an address, or an address with a port, like 10.10.0.5:40000 or [2001:db8::5]:443",
    );
  }
  return end;
}

function ingressOf(
  { policy, portNames }: TraceFacts,
  request: TraceRequest,
  source: Address,
): { port: number; zone: ZoneModel; isGiven: boolean } {
  if (request.in !== undefined) {
    const named = portNames.indexOf(request.in);
    const zone = policy.zones.find(({ name, ports }) => name === request.in || ports.includes(named));
    if (zone === undefined) {
      throw wrong(
        "in",
        request.in,
        `one of the zones ${policy.zones.map(({ name }) => name).join(", ")}, or an interface of one`,
      );
    }
    return { port: zone.name === request.in ? zone.ports[0]! : named, zone, isGiven: true };
  }
  const id = new Ingress(policy, { kind: "route" }).zoneOf(source, { destinationMac: "", interfaceName: "" });
  const zone = policy.zones.find((candidate) => candidate.id === id)!;
  return { port: zone.ports[0]!, zone, isGiven: false };
}

/** DNAT, route, slot and SNAT, from the flow that the packet made. */
function wayOf(
  facts: TraceFacts,
  question: Question,
  { flow, outcome }: Run,
): Pick<TraceReport, "dnat" | "route" | "slot" | "whyNoSlot" | "snat"> {
  if (flow === undefined) return {};
  const { original, reply, zones } = flow;
  const hasPorts = question.protocol !== PROTOCOL_ICMP && question.protocol !== PROTOCOL_ICMPV6;
  const text = (end: { readonly address: Address; readonly port: number }): string =>
    endText(end.address, hasPorts && end.port !== 0 ? end.port : undefined);
  const prefix = routeTo(routesOf(facts.policy), reply.source.address)?.prefix;
  const nextHop = outcome.asked[0]?.address;
  return {
    ...(flow.isDnat ? { dnat: { from: text(original.destination), to: text(reply.source) } } : {}),
    route: {
      to: prefix === undefined ? "" : `${formatAddress(prefix.address)}/${prefix.bits}`,
      zone: zoneName(facts.policy, zones[1]),
      nextHop: nextHop === undefined ? "" : formatAddress(nextHop),
    },
    ...(facts.key === undefined
      ? { whyNoSlot: facts.whyNoSlots ?? "the cluster's secret is not known here" }
      : { slot: { slot: flow.slot, ...facts.ownerOf?.(flow.slot) } }),
    ...(flow.isSnat ? { snat: { from: text(original.source), to: text(reply.destination) } } : {}),
  };
}

/** What leaves: the packet itself, or what the firewall answers. */
function leavingOf(facts: TraceFacts, { outcome }: Run): Pick<TraceReport, "out" | "answer"> {
  const [left] = outcome.sent;
  const view = left === undefined ? undefined : viewPacket(left.frame, ETHERNET_BYTES);
  if (left === undefined || view === undefined) return {};
  const text = packetText(view);
  if (verdictName(outcome.verdict) !== "forwarded") return { answer: text };
  const zone = facts.policy.zones.find(({ ports }) => ports.includes(left.port));
  return { out: { zone: zone?.name ?? "", interface: facts.portNames[left.port] ?? "", packet: text } };
}

function ruleOf(policy: PolicyModel, { decision, verdict }: Outcome): TraceReport["rule"] | undefined {
  if (decision === undefined) {
    return verdict === DROP_DENIED ? { number: 0, name: DEFAULT_RULE, action: "drop" } : undefined;
  }
  const { name, action } = policy.rules[decision.rule]!;
  return {
    number: decision.rule + 1,
    name,
    action: action === ACTION_ACCEPT ? "accept" : action === 0 ? "drop" : "reject",
  };
}

function denialAdvice(
  facts: TraceFacts,
  question: Question,
  zone: ZoneModel,
  rule: TraceReport["rule"],
  supposed: FlowSnapshot | undefined,
): string {
  if (supposed === undefined) {
    return "the firewall's own addresses of a more trusted zone answer nobody; ask for a host behind it";
  }
  const to = zoneName(facts.policy, supposed.zones[1]);
  const { address, port } = supposed.reply.source;
  const service = WITH_PORTS.includes(question.protocol)
    ? `protocol: ${protocolText(question.protocol)}, destinationPorts: [${port}]`
    : `protocol: ${protocolText(question.protocol)}`;
  const accepting = `{ name: NAME, from: ${zone.name}, to: ${to}, destinations: [${formatAddress(address)}], ${service}, action: accept }`;
  return rule === undefined || rule.number === 0
    ? `to allow it, add a rule: ${accepting}`
    : `to allow it, change rule ${rule.number}, or put before it: ${accepting}`;
}

function zoneName(policy: PolicyModel, id: number): string {
  return policy.zones.find((zone) => zone.id === id)?.name ?? String(id);
}

function wrong(field: string, value: unknown, need: string): SynwallError {
  return new SynwallError("SW_TRACE_INVALID", `--${field} ${String(value)}: does not fit: write ${need}`);
}
