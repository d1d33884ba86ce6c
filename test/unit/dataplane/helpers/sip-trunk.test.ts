/** Many calls in one flow, as between two exchanges: how many are helped, and what becomes of one too many. */
import { expect, test } from "vitest";
import type { ExpectationLimits } from "../../../../src/dataplane/helpers/expectation.ts";
import { HELPER_SIP } from "../../../../src/dataplane/policy-model.ts";
import { FakeTable } from "./fake-table.ts";
import { Rig } from "./rig.ts";
import { bye, type Call, invite, type Party, response, sdp } from "./sip-texts.ts";

const INSIDE = "10.0.0.2";
const OUTSIDE = "203.0.113.1";
const SERVER = "198.51.100.7";
const ORIGINAL = `${INSIDE}:5060 > ${SERVER}:5060`;
const REPLY = `${SERVER}:5060 > ${OUTSIDE}:61000`;

const caller = (i: number): Party => ({ ip: INSIDE, port: 5060, mediaPort: 6000 + 4 * i });
const callee = (i: number): Party => ({ ip: SERVER, port: 5060, mediaPort: 20_000 + 4 * i });
const call = (i: number): Call => ({
  from: caller(i),
  to: { ip: SERVER, port: 5060 },
  id: `${i}-4242@${INSIDE}`,
});

function trunk(
  limits: Partial<ExpectationLimits> = {},
  rig = new Rig(HELPER_SIP, limits, new FakeTable(1024)),
) {
  const row = rig.table.flow(17, ORIGINAL, REPLY);
  return { rig, row, ...speakers(rig, row) };
}

function speakers(rig: Rig, row: number) {
  const ends = [
    { from: INSIDE, to: SERVER, sport: 5060, dport: 5060 },
    { from: SERVER, to: OUTSIDE, sport: 5060, dport: 61_000 },
  ] as const;
  const say = (direction: 0 | 1, payload: string): string => {
    const packet = rig.send(row, direction, 17, { ...ends[direction], payload });
    expect(packet.faults()).toEqual([]);
    return packet.text;
  };
  /** Sets a call up; what the callee got. */
  const dial = (i: number): string => {
    const sent = say(0, invite(call(i)));
    say(1, response(sent, "200 OK", callee(i), sdp(callee(i))));
    return sent;
  };
  return { say, dial };
}

const media = (message: string): { c: string; port: number; length: boolean } => {
  const [head, body] = message.split("\r\n\r\n") as [string, string];
  return {
    c: /c=IN IP4 (\S+)/.exec(body)![1]!,
    port: Number(/m=audio (\d+)/.exec(body)![1]),
    length: Number(/Content-Length: (\d+)/.exec(head)![1]) === body.length,
  };
};

test("one flow carries a hundred calls, each announced whole, and each ends alone (RFC 3264 section 5.1)", () => {
  const { rig, say, dial } = trunk();
  const calls = Array.from({ length: 100 }, (_, i) => i);
  const ports = calls.map((i) => {
    const { c, port, length } = media(dial(i));
    expect([i, c, length]).toEqual([i, OUTSIDE, true]);
    return port;
  });
  expect(new Set(ports).size).toBe(100);
  expect(ports.every((port) => port >= 40_000)).toBe(true);
  expect(rig.expected()).toHaveLength(400);
  for (const i of calls.filter((each) => each % 2 === 0)) say(0, bye(call(i)));
  expect(rig.expected()).toHaveLength(200);
  // A call that stands has its ports still when it is announced again; a new one gets others.
  expect(media(say(0, invite(call(51)))).port).toBe(ports[51]);
  expect(ports.filter((_, i) => i % 2 === 1)).not.toContain(media(dial(200)).port);
});

test("whoever takes over a full trunk ends its calls one by one, and the rest with their flow", () => {
  const { rig, dial } = trunk();
  for (let i = 0; i < 100; i++) dial(i);
  const heir = new Rig(HELPER_SIP, {}, rig.table.takenOver());
  const [row] = heir.table.rows(17);
  const { say } = speakers(heir, row!);
  say(0, bye(call(57)));
  expect(heir.expected()).toHaveLength(396);
  expect(heir.expected()).not.toContain(`udp ${INSIDE}:* > ${SERVER}:${callee(57).mediaPort}`);
  heir.end(row!);
  expect(heir.expected()).toEqual([]);
});

test("trunks between the same hosts end their own calls only", () => {
  const { rig, say, dial } = trunk();
  // Its numbers lie in the other one's way.
  const other = rig.table.flow(17, `${INSIDE}:5060 > ${SERVER}:5062`, `${SERVER}:5062 > ${OUTSIDE}:61001`);
  const ends = { from: INSIDE, to: SERVER, sport: 5060, dport: 5062 };
  const there = (i: number): Call => ({ ...call(i), to: { ip: SERVER, port: 5062 } });
  for (let i = 0; i < 40; i++) {
    dial(i);
    rig.send(other, 0, 17, { ...ends, payload: invite({ ...there(i), from: caller(500 + i) }) });
  }
  expect(rig.expected()).toHaveLength(40 * 4 + 40 * 2);
  for (let i = 0; i < 40; i++) say(0, bye(call(i)));
  expect(rig.expected()).toHaveLength(40 * 2);
  rig.end(other);
  expect(rig.expected()).toEqual([]);
});

test("a description whose media cannot be announced stays as it is: no outside address with an inside port", () => {
  const { rig, say, dial } = trunk({ sipPerMaster: 4 });
  dial(0);
  const sent = say(0, invite(call(1)));
  expect(sent.split("\r\n\r\n")[1]).toBe(sdp(caller(1)));
  expect(media(sent).length).toBe(true);
  // What the message itself names is translated all the same: the answer comes back.
  expect(sent).toContain(`Via: SIP/2.0/UDP ${OUTSIDE}:61000;`);
  expect(rig.counter("helperRefused")).toBeGreaterThan(0);
  expect(rig.expected()).toHaveLength(4);
});

test("of several streams, one that cannot be announced keeps its own address too", () => {
  const { say } = trunk({ sipPerMaster: 2 });
  const body = [
    "v=0",
    `o=- 1 1 IN IP4 ${INSIDE}`,
    "s=-",
    "t=0 0",
    "m=audio 6000 RTP/AVP 0",
    `c=IN IP4 ${INSIDE}`,
    "m=video 6100 RTP/AVP 31",
    `c=IN IP4 ${INSIDE}`,
    "",
  ].join("\r\n");
  const sent = say(0, invite(call(0), body)).split("\r\n\r\n")[1]!;
  expect(/m=audio (\d+)/.exec(sent)![1]).not.toBe("6000");
  expect(sent).toContain(`m=video 6100 RTP/AVP 31\r\nc=IN IP4 ${INSIDE}\r\n`);
  expect(sent).toMatch(new RegExp(`m=audio \\d+ RTP/AVP 0\r\nc=IN IP4 ${OUTSIDE}\r\n`));
});
