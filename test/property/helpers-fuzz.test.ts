/**
 * Broken and hostile text through every helper: nothing throws, nothing is written outside the packet, lengths and checksums of
 * what leaves are right, and no expectation leads to an address that its announcer does not have.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { NONE } from "../../src/dataplane/flow-layout.ts";
import { HELPER_FTP, HELPER_SIP, HELPER_TFTP } from "../../src/dataplane/policy-model.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP } from "../../src/dataplane/satellites.ts";
import { TestPacket } from "../unit/dataplane/helpers/packets.ts";
import { addressText, Rig } from "../unit/dataplane/helpers/rig.ts";
import {
  ack,
  bye,
  invite,
  type Party,
  register,
  response,
  sdp,
} from "../unit/dataplane/helpers/sip-texts.ts";

const FLOWS = [
  // Own address of each end and how the other one sees it.
  ["10.0.0.2:5060 > 198.51.100.7:5060", "198.51.100.7:5060 > 203.0.113.1:61000"],
  ["198.51.100.7:5060 > 203.0.113.1:5060", "10.0.0.9:5060 > 198.51.100.7:5060"],
  ["[fd00::2]:5060 > [2001:db8:2::7]:5060", "[2001:db8:2::7]:5060 > [2001:db8:9::1]:61000"],
  ["[fd00::2]:5060 > [64:ff9b::c633:6407]:5060", "198.51.100.7:5060 > 203.0.113.1:61009"],
] as const;
const PHONE = { ip: "10.0.0.2", port: 5060, mediaPort: 6000 };
const SERVER = { ip: "198.51.100.7", port: 5060, mediaPort: 7000 };
const PHONE6 = { ip: "fd00::2", port: 5060, mediaPort: 6000 };
const SERVER6 = { ip: "2001:db8:2::7", port: 5060, mediaPort: 7000 };
const CALL = { from: PHONE, to: SERVER };
interface Seed {
  readonly flow: number;
  readonly direction: number;
  readonly isTcp: boolean;
  readonly bytes: Uint8Array;
}

const seed = (flow: number, direction: number, isTcp: boolean, text: string): Seed => ({
  flow,
  direction,
  isTcp,
  bytes: Buffer.from(text, "latin1"),
});
const INSIDE: Party = { ip: "10.0.0.9", port: 5060, mediaPort: 6000 };
const inward = { from: SERVER, to: INSIDE };
const video = sdp(PHONE, ["a=rtcp:6555 IN IP4 10.0.0.2", "m=video 6002 RTP/AVP 96", "c=IN IP4 10.0.0.2"]);
const contact = "<sip:phone@10.0.0.2:5070>;expires=60";
/** Texts, each in the flow in which it means something. Without a length a body goes to the end: then edits of it are read too. */
const SEEDS: readonly Seed[] = [
  seed(0, 0, true, "PORT 10,0,0,2,15,161\r\n"),
  seed(0, 0, true, "NOOP\r\nEPRT |1|10.0.0.2|4001|\r\n"),
  seed(2, 0, true, "EPRT |2|fd00::2|4001|\r\n"),
  seed(1, 1, true, "227 Entering Passive Mode (10,0,0,9,195,80).\r\n"),
  seed(1, 1, true, "213-x\r\n227 y\r\n213 z\r\n229 Entering Extended Passive Mode (|||50000|)\r\n"),
  seed(0, 0, true, "AUTH TLS\r\n"),
  seed(0, 1, true, "234 ok\r\n"),
  seed(0, 0, false, "\0\x01file\0octet\0"),
  ...[
    seed(0, 0, false, invite(CALL)),
    seed(2, 0, false, invite({ from: PHONE6, to: SERVER6 })),
    seed(0, 0, false, invite(CALL, video)),
    seed(1, 0, false, invite(inward, sdp({ ...SERVER, ip: "198.51.100.99" }))),
    seed(0, 1, false, response(invite(CALL), "200 OK", SERVER, sdp({ ...SERVER, ip: "198.51.100.99" }))),
    seed(1, 1, false, response(invite(inward), "200 OK", INSIDE, sdp(INSIDE))),
    seed(0, 0, false, ack(CALL)),
    seed(0, 0, false, bye(CALL)),
    seed(0, 0, false, register({ from: PHONE, registrar: "198.51.100.7", contact })),
  ].flatMap((each) => [each, without(each)]),
];

function without(each: Seed): Seed {
  const text = Buffer.from(each.bytes).toString("latin1");
  return { ...each, bytes: Buffer.from(text.replace(/Content-Length: \d+\r\n/, ""), "latin1") };
}

/** What makes grammars stumble. */
const TOKENS = [
  "\r\n",
  "\n",
  "\r\n\r\n",
  "\0",
  " ",
  ":",
  "[",
  "]",
  "@",
  "sip:",
  "<",
  ",",
  ";received=",
  ";rport=",
  "999999999999",
  "-1",
  "::",
  "|",
  "(",
  "m=",
  "c=IN IP4 ",
  "a=rtcp:",
  "10.0.0.2",
  "10.0.0.3",
  "l: ",
  "\xff",
];

const edit = fc.oneof(
  fc.record({ at: fc.nat(1200), remove: fc.nat(3), insert: fc.constantFrom(...TOKENS) }),
  fc.record({ at: fc.nat(1200), remove: fc.constant(1), insert: fc.string({ maxLength: 2 }) }),
  fc.record({ at: fc.nat(1200), remove: fc.nat(400), insert: fc.constant("") }),
);
const known = fc.tuple(fc.nat(SEEDS.length - 1), fc.array(edit, { maxLength: 3 })).map(([index, edits]) => ({
  ...SEEDS[index]!,
  bytes: mutated(SEEDS[index]!.bytes, edits),
}));
/** The same text in any flow, or any bytes. */
const strange = fc.record({
  flow: fc.nat(FLOWS.length - 1),
  direction: fc.nat(1),
  isTcp: fc.boolean(),
  bytes: fc.oneof(
    known.map(({ bytes }) => bytes),
    fc.uint8Array({ minLength: 1, maxLength: 200 }),
  ),
});
const step = fc.record({
  what: fc.oneof({ weight: 3, arbitrary: known }, { weight: 1, arbitrary: strange }),
  /** Where the next byte would be, or near it. */
  offset: fc.constantFrom(0, 0, 0, 0, -5, 7),
  room: fc.constantFrom(1500, 1500, 600, 60),
});

function mutated(from: Uint8Array, edits: { at: number; remove: number; insert: string }[]): Uint8Array {
  let bytes = from;
  for (const { at, remove, insert } of edits) {
    const start = Math.min(at, bytes.length);
    bytes = Buffer.concat([
      bytes.subarray(0, start),
      Buffer.from(insert, "latin1"),
      bytes.subarray(start + remove),
    ]);
  }
  return bytes.length === 0 ? Uint8Array.of(0) : bytes.subarray(0, 1300);
}

function ends(
  flow: readonly string[],
  direction: number,
): { from: string; to: string; sport: number; dport: number } {
  const [from, to] = flow[direction]!.split(" > ").map((end) => {
    const colon = end.lastIndexOf(":");
    return { ip: end.slice(0, colon).replace(/[[\]]/g, ""), port: Number(end.slice(colon + 1)) };
  });
  return { from: from!.ip, to: to!.ip, sport: from!.port, dport: to!.port };
}

/** Addresses to which an expectation may lead: to either end; towards the outside, to anybody there. */
function mayLead(flow: readonly string[], address: string, toward: number, outerSide: number): boolean {
  return ends(flow, toward).from === address || toward === outerSide;
}

test("no text, however broken, throws, leaves the packet, or opens what is not its sender's", () => {
  let edits = 0;
  let expectations = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12, size: "max" }), (steps) => {
      const rig = new Rig(HELPER_FTP | HELPER_TFTP | HELPER_SIP);
      const rows = FLOWS.map(([original, reply]) =>
        [17, 6].map((protocol) => rig.table.flow(protocol, original, reply, 1e9)),
      );
      const next = FLOWS.map(() => [1, 1]);
      for (const { what, offset, room } of steps) {
        const { flow, direction, isTcp, bytes: payload } = what;
        rig.outerSide = flow === 1 ? 0 : 1;
        const seq = next[flow]![direction]! + offset;
        const spec = { ...ends(FLOWS[flow]!, direction), payload, seq, ack: 1 };
        const packet = new TestPacket(isTcp ? 6 : 17, spec);
        // A packet that is larger than the way out never comes to a helper.
        rig.totalBytesMax = Math.max(room, packet.totalBytes);
        rig.process(rows[flow]![isTcp ? 1 : 0]!, direction, packet);
        if (rig.result === "drop") continue;
        if (isTcp && offset === 0) next[flow]![direction] = seq + payload.length;
        if (rig.result === "edited") edits++;
        expect(packet.faults(rig.totalBytesMax)).toEqual([]);
      }
      for (const row of [...rig.table.rows(EXPECTATION_TCP), ...rig.table.rows(EXPECTATION_UDP)]) {
        expectations++;
        const master = rig.helpers.expectations.masterOf(row);
        expect(master).not.toBe(NONE);
        rig.helpers.expectations.resolve(row, 1234);
        const flow = rows.findIndex((pair) => pair.includes(master));
        const to = addressText(rig.helpers.expectations.resolved, 0);
        const toward = rig.helpers.expectations.towardOf(row);
        expect([to, mayLead(FLOWS[flow]!, to, toward, flow === 1 ? 0 : 1)]).toEqual([to, true]);
        // The engine lets nothing out by another zone.
        expect(rig.helpers.expectations.zoneOf(row)).toBe(toward);
      }
      for (const row of rows.flat()) rig.end(row);
      expect(rig.table.allRows()).toEqual([]);
    }),
    { numRuns: 600 },
  );
  expect(edits).toBeGreaterThan(100);
  expect(expectations).toBeGreaterThan(300);
});
