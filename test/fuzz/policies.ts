/**
 * Policies of the fuzzer: a strict family, of which a naive reader can say what may pass (judge.ts), and a full one in which every
 * feature is on. Each family has two members with the same zones, so that policies can be swapped while flows live.
 */
import { HELPER_FTP, HELPER_SIP, HELPER_TFTP, type PolicyModel } from "../../src/dataplane/policy-model.ts";
import { ip, ip6 } from "../unit/dataplane/frames.ts";
import { DUAL_POLICY, INSIDE, OUTSIDE, prefix, rule, TIMEOUTS } from "../unit/dataplane/world.ts";

/** What no policy of either family lets out: TCP and UDP to this port. */
export const FORBIDDEN_PORT = 25;
/** What every policy lets in: TCP to this port of these hosts. */
export const SERVED_PORT = 80;
export const SERVER_V4 = "10.10.0.250";
export const SERVER_V6 = "2001:db8:10::250";

const smtp = rule(0, {
  fromZone: INSIDE,
  toZone: OUTSIDE,
  action: 2,
  services: [6, 17].map((protocol) => ({
    protocol,
    sourcePorts: [],
    destinationPorts: [{ from: FORBIDDEN_PORT, to: FORBIDDEN_PORT }],
    icmpType: -1,
    icmpCode: -1,
  })),
});
const served = {
  fromZone: OUTSIDE,
  toZone: INSIDE,
  protocol: 6,
  destinationPorts: [{ from: SERVED_PORT, to: SERVED_PORT }],
};
const inward = [
  rule(2, { ...served, destinations: [prefix(`${SERVER_V4}/32`)] }),
  rule(3, { ...served, destinations: [prefix(`${SERVER_V6}/128`)], log: true }),
];

const STRICT: PolicyModel = {
  ...DUAL_POLICY,
  rules: [smtp, rule(1, { fromZone: INSIDE, toZone: OUTSIDE }), ...inward],
};

const STRICTER: PolicyModel = {
  ...STRICT,
  affinity: "source",
  rules: [
    smtp,
    rule(1, {
      fromZone: INSIDE,
      toZone: OUTSIDE,
      protocol: 17,
      destinationPorts: [{ from: 53, to: 53 }],
      action: 0,
    }),
    ...STRICT.rules.slice(1).map((each, i) => ({ ...each, id: i + 2 })),
  ],
  timeoutsMs: { ...TIMEOUTS, udpReplied: 3_000, udpUnreplied: 500, tcpSynSent: 900 },
};

const FULL: PolicyModel = {
  ...STRICT,
  zones: STRICT.zones.map((zone) => ({
    ...zone,
    mssMax: 1200,
    bogons: zone.id === OUTSIDE ? [prefix("192.0.2.0/24")] : [],
    ipv6: {
      ...zone.ipv6!,
      advertise: {
        intervalMs: 4000,
        lifetimeSeconds: 600,
        isManaged: false,
        isOtherConfig: true,
        isAutonomous: true,
        prefixValidSeconds: 3600,
        prefixPreferredSeconds: 1800,
        dns: [ip6("2001:db8:10::53")],
      },
    },
  })),
  routes: [
    { to: prefix("0.0.0.0/0"), zone: OUTSIDE, via: ip("198.51.100.254"), more: [ip("198.51.100.253")] },
    { to: prefix("::/0"), zone: OUTSIDE, via: ip6("2001:db8:f::fe") },
    { to: prefix("fd00:10::/64"), zone: INSIDE, via: ip6("2001:db8:10::99") },
  ],
  snat: STRICT.snat.map((each) => ({
    ...each,
    ports: { from: 40000, to: 41023 },
    isEndpointIndependent: true,
    isFilteringIndependent: true,
  })),
  statics: [
    {
      innerZone: INSIDE,
      outerZone: OUTSIDE,
      inner: prefix("10.10.0.128/28"),
      outer: prefix("198.51.100.128/28"),
      isChecksumNeutral: false,
    },
    {
      innerZone: INSIDE,
      outerZone: OUTSIDE,
      inner: prefix("fd00:10::/64"),
      outer: prefix("2001:db8:e::/64"),
      isChecksumNeutral: true,
    },
  ],
  nat64: [{ fromZone: INSIDE, toZone: OUTSIDE, prefix: prefix("64:ff9b::/96"), pool: [ip("198.51.100.12")] }],
  protection: {
    halfOpenPerSource: 20,
    halfOpenPerDestination: 40,
    halfOpenMax: 60,
    synProxyAbove: 12,
    newFlowsPerSecond: 400,
    newFlowsBurst: 100,
    shrinkFromPercent: 50,
    shrinkToPercent: 90,
    reservePercent: 5,
    allow: [prefix("10.10.0.4/32")],
  },
  fragments: { datagramsMax: 16, datagramsPerSource: 6, timeoutMs: 2000 },
  rules: [
    smtp,
    rule(1, {
      fromZone: INSIDE,
      toZone: OUTSIDE,
      helpers: HELPER_FTP | HELPER_SIP | HELPER_TFTP,
      rate: { perSecond: 500, burst: 200 },
    }),
    ...inward,
  ],
  answered: [
    ...STRICT.answered,
    { zone: OUTSIDE, address: ip("198.51.100.12") },
    ...Array.from({ length: 16 }, (_, i) => ({ zone: OUTSIDE, address: ip("198.51.100.128") + i })),
  ],
};

const FULLER: PolicyModel = {
  ...FULL,
  snat: STRICT.snat,
  rules: FULL.rules.map((each) => (each.id === 1 ? { ...each, helpers: HELPER_FTP } : each)),
  timeoutsMs: STRICTER.timeoutsMs,
};

/** Policies by family; the first family is what judge.ts understands. */
export const FAMILIES: readonly (readonly PolicyModel[])[] = [
  [STRICT, STRICTER],
  [FULL, FULLER],
];
