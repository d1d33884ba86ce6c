import { describe, expect, test } from "vitest";
import { F_META, FLAG_EXPECTED, ROW_WORDS } from "../../../../src/dataplane/flow-layout.ts";
import { HELPER_SIP } from "../../../../src/dataplane/policy-model.ts";
import { EXPECTATION_UDP } from "../../../../src/dataplane/satellites.ts";
import { Rig } from "./rig.ts";
import {
  ack,
  bye,
  type Call,
  cancel,
  invite,
  type Party,
  register,
  response,
  sdp,
  withBody,
} from "./sip-texts.ts";

interface World {
  readonly rig: Rig;
  readonly row: number;
  /** A message of the client (0) or server (1) side as it leaves. */
  say(direction: number, payload: string): string;
}

function world(original: string, reply: string, rig = new Rig(HELPER_SIP)): World {
  const row = rig.table.flow(17, original, reply);
  const ends = [original, reply].map((text) => {
    const [from, to] = text.split(" > ").map((end) => {
      const colon = end.lastIndexOf(":");
      return { ip: end.slice(0, colon).replace(/[[\]]/g, ""), port: Number(end.slice(colon + 1)) };
    });
    return { from: from!.ip, to: to!.ip, sport: from!.port, dport: to!.port };
  });
  const say = (direction: number, payload: string): string => {
    const packet = rig.send(row, direction, 17, { ...ends[direction]!, payload });
    if (rig.result !== "drop") expect(packet.faults()).toEqual([]);
    return packet.text;
  };
  return { rig, row, say };
}

const PHONE: Party = { ip: "10.0.0.2", port: 5060, mediaPort: 6000 };
const SERVER: Party = { ip: "198.51.100.7", port: 5060, mediaPort: 7000 };
const CALL: Call = { from: PHONE, to: SERVER };
/** A phone inside behind SNAT calls out. */
const snat = (rig?: Rig): World =>
  world("10.0.0.2:5060 > 198.51.100.7:5060", "198.51.100.7:5060 > 203.0.113.1:61000", rig);
/** A caller outside calls a server inside behind DNAT; the outside is the client's side. */
const dnat = (): World => {
  const made = world("198.51.100.7:5060 > 203.0.113.1:5060", "10.0.0.9:5060 > 198.51.100.7:5060");
  made.rig.outerSide = 0;
  return made;
};
const routed = (): World => world("10.0.0.2:5060 > 198.51.100.7:5060", "198.51.100.7:5060 > 10.0.0.2:5060");

/** Content-Length says what follows. */
function bodyIsWhole(message: string): boolean {
  const [head, body] = message.split("\r\n\r\n") as [string, string];
  return Number(/Content-Length: (\d+)/.exec(head)![1]) === body.length;
}

describe("sipp's uac and uas through SNAT (RFC 3261)", () => {
  test("the call is set up, media flow both ways, and the end of the call closes their ports (FFW_RUL_EXT.2.1)", () => {
    const { rig, row, say } = snat();
    const sent = say(0, invite(CALL));
    expect(sent).toBe(
      withBody(
        [
          "INVITE sip:service@198.51.100.7:5060 SIP/2.0",
          "Via: SIP/2.0/UDP 203.0.113.1:61000;branch=z9hG4bK-4242-1-1",
          "From: sipp <sip:sipp@203.0.113.1:61000>;tag=4242SIPpTag001",
          "To: service <sip:service@198.51.100.7:5060>",
          "Call-ID: 1-4242@10.0.0.2",
          "CSeq: 1 INVITE",
          "Contact: sip:sipp@203.0.113.1:61000",
          "Max-Forwards: 70",
          "Subject: Performance Test",
        ],
        sdp({ ip: "203.0.113.1", port: 0, mediaPort: 40_002 }, ["a=rtcp:40005"]),
      ),
    );
    expect(rig.expected()).toEqual([
      "udp 198.51.100.7:* > 203.0.113.1:40002",
      "udp 198.51.100.7:* > 203.0.113.1:40005",
    ]);
    // The answers come back in the phone's own terms.
    const ringing = say(1, response(sent, "180 Ringing", SERVER));
    expect(ringing).toContain("Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK-4242-1-1\r\n");
    expect(ringing).toContain("From: sipp <sip:sipp@10.0.0.2:5060>;tag=4242SIPpTag001\r\n");
    const ok = response(sent, "200 OK", SERVER, sdp(SERVER));
    const answered = say(1, ok);
    expect(answered).toBe(ok.replaceAll("203.0.113.1:61000", "10.0.0.2:5060"));
    expect(rig.expected()).toEqual([
      "udp 10.0.0.2:* > 198.51.100.7:7000",
      "udp 10.0.0.2:* > 198.51.100.7:7001",
      "udp 198.51.100.7:* > 203.0.113.1:40002",
      "udp 198.51.100.7:* > 203.0.113.1:40005",
    ]);
    expect(say(0, ack(CALL))).toContain("Via: SIP/2.0/UDP 203.0.113.1:61000");
    // The phone's own media leave from the port that was announced for them (RFC 4961).
    expect(rig.arrive(17, "10.0.0.2", 6000, "198.51.100.7", 7000, 0)).toBe(
      "198.51.100.7:7000 from 203.0.113.1:40002 (shown)",
    );
    expect(rig.arrive(17, "198.51.100.7", 7001, "203.0.113.1", 40_005, 1)).toBe(
      "10.0.0.2:6001 from 198.51.100.7",
    );
    const media = rig.table.flow(
      17,
      "10.0.0.2:6000 > 198.51.100.7:7000",
      "198.51.100.7:7000 > 203.0.113.1:40002",
    );
    say(0, bye(CALL));
    expect(rig.expected()).toEqual([]);
    expect([rig.table.isUsed(media), rig.table.isUsed(row)]).toEqual([false, true]);
  });

  test("a repeated INVITE and a repeated answer become the same texts", () => {
    const { rig, say } = snat();
    const sent = say(0, invite(CALL));
    expect(say(0, invite(CALL))).toBe(sent);
    const ok = response(sent, "200 OK", SERVER, sdp(SERVER));
    expect(say(1, ok)).toBe(say(1, ok));
    expect(say(0, invite(CALL))).toBe(sent);
    expect(rig.expected()).toHaveLength(4);
  });

  test("calls that share one media port keep it until the last of them ends, as sipp makes them", () => {
    const { rig, say } = snat();
    const calls = [1, 2, 3].map((i): Call => ({ ...CALL, id: `${i}-4242@10.0.0.2` }));
    for (const call of calls) {
      const sent = say(0, invite(call));
      expect(sent).toContain("m=audio 40002 ");
      say(1, response(sent, "200 OK", SERVER, sdp(SERVER)));
    }
    say(0, bye(calls[0]!));
    say(0, bye(calls[1]!));
    expect(rig.expected()).toHaveLength(4);
    say(0, bye(calls[2]!));
    expect(rig.expected()).toEqual([]);
  });
});

describe("sipp's uac and uas through DNAT", () => {
  const caller: Call = { from: SERVER, to: { ip: "203.0.113.1", port: 5060 } };
  const callee: Party = { ip: "10.0.0.9", port: 5060, mediaPort: 6000 };

  test("the call is set up in both sides' terms and media flow both ways", () => {
    const { rig, say } = dnat();
    const sent = say(0, invite(caller));
    expect(sent).toBe(invite({ ...caller, to: callee }));
    expect(rig.expected()).toEqual([
      "udp 10.0.0.9:* > 198.51.100.7:7000",
      "udp 10.0.0.9:* > 198.51.100.7:7001",
    ]);
    const answered = say(1, response(sent, "200 OK", callee, sdp(callee)));
    expect(answered).toContain("To: service <sip:service@203.0.113.1:5060>;tag=4343SIPpTag011\r\n");
    expect(answered).toContain("Contact: <sip:203.0.113.1:5060;transport=UDP>\r\n");
    expect(answered).toContain("c=IN IP4 203.0.113.1\r\n");
    expect(answered).toContain("o=user1 53655765 2353687637 IN IP4 203.0.113.1\r\n");
    expect(answered).toContain("m=audio 40002 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=rtcp:40005\r\n");
    expect(bodyIsWhole(answered)).toBe(true);
    // rtp_echo answers what comes in.
    expect(rig.arrive(17, "198.51.100.7", 7000, "203.0.113.1", 40_002, 0)).toBe(
      "10.0.0.9:6000 from 198.51.100.7",
    );
    // If the callee speaks first, it is seen where its media were announced.
    expect(rig.arrive(17, "10.0.0.9", 6000, "198.51.100.7", 7000, 1)).toBe(
      "198.51.100.7:7000 from 203.0.113.1:40002 (shown)",
    );
    say(0, bye(caller));
    expect(rig.expected()).toEqual([]);
  });

  test("a call from inside in the same flow works too", () => {
    const { rig, say } = dnat();
    const back = say(1, invite({ from: callee, to: SERVER }));
    expect(back).toContain("INVITE sip:service@198.51.100.7:5060 SIP/2.0");
    expect(back).toContain("Via: SIP/2.0/UDP 203.0.113.1:5060;");
    expect(back).toContain("c=IN IP4 203.0.113.1");
    expect(rig.expected()).toEqual([
      "udp 198.51.100.7:* > 203.0.113.1:40002",
      "udp 198.51.100.7:* > 203.0.113.1:40005",
    ]);
  });
});

test("without NAT messages stay as they are and media may come, of both families", () => {
  const { rig, say } = routed();
  expect(say(0, invite(CALL))).toBe(invite(CALL));
  expect(rig.expected()).toEqual([
    "udp 198.51.100.7:* > 10.0.0.2:6000",
    "udp 198.51.100.7:* > 10.0.0.2:6001",
  ]);
  const phone6 = { ip: "2001:db8:1::2", port: 5060, mediaPort: 6000 };
  const server6 = { ip: "2001:db8:2::7", port: 5060, mediaPort: 7000 };
  const six = world(
    "[2001:db8:1::2]:5060 > [2001:db8:2::7]:5060",
    "[2001:db8:2::7]:5060 > [2001:db8:1::2]:5060",
  );
  const call = { from: phone6, to: server6 };
  expect(six.say(0, invite(call))).toBe(invite(call));
  expect(six.rig.arrive(17, "2001:db8:2::7", 9, "2001:db8:1::2", 6000, 1)).toBe(
    "2001:db8:1::2:6000 from 2001:db8:2::7",
  );
});

test("IPv6 endpoints are rewritten in brackets, and without them in SDP", () => {
  const { say } = world(
    "[fd00::2]:5060 > [2001:db8:2::7]:5060",
    "[2001:db8:2::7]:5060 > [2001:db8:9::1]:5060",
  );
  const phone = { ip: "fd00::2", port: 5060, mediaPort: 6000 };
  const shown = { ip: "2001:db8:9::1", port: 5060, mediaPort: 40_002 };
  const to = { ip: "2001:db8:2::7", port: 5060 };
  const sent = say(0, invite({ from: phone, to }));
  expect(sent).toBe(invite({ from: shown, to }, sdp(shown, ["a=rtcp:40005"])));
});

describe("headers", () => {
  /** What a header becomes on the way out through SNAT. */
  const header = (line: string): string => {
    const head = [
      "OPTIONS sip:x@198.51.100.7 SIP/2.0",
      "Via: SIP/2.0/UDP 10.0.0.2:5060;branch=1",
      "Call-ID: 1",
      "CSeq: 1 OPTIONS",
    ];
    return snat()
      .say(0, withBody([...head, line], ""))
      .split("\r\n")[4]!;
  };

  test.each([
    ["Contact: <sip:a@10.0.0.2>", "Contact: <sip:a@203.0.113.1:61000>"],
    [
      "Contact: <sip:a@10.0.0.2:5060>;q=1, <sips:10.0.0.2>",
      "Contact: <sip:a@203.0.113.1:61000>;q=1, <sips:203.0.113.1:61000>",
    ],
    ["m: sip:10.0.0.2", "m: sip:203.0.113.1:61000"],
    ['f: "10.0.0.2" <SIP:a:b@10.0.0.2;x=y>', 'f: "10.0.0.2" <SIP:a:b@203.0.113.1:61000;x=y>'],
    ["Contact: <sip:a@10.0.0.2:5090>", "Contact: <sip:a@203.0.113.1:5090>"],
    ["Contact: <sip:a@10.0.0.20>", "Contact: <sip:a@10.0.0.20>"],
    ["Contact: <sip:a@10.0.0.2.example.org>", "Contact: <sip:a@10.0.0.2.example.org>"],
    ["Contact: <sip:10.0.0.2@example.org>", "Contact: <sip:10.0.0.2@example.org>"],
    ["Contact: <tel:+15550100>", "Contact: <tel:+15550100>"],
    [
      "Route: <sip:10.0.0.2;lr>,<sip:198.51.100.7;lr>",
      "Route: <sip:203.0.113.1:61000;lr>,<sip:198.51.100.7;lr>",
    ],
    ["Record-Route: <sip:10.0.0.2;lr>", "Record-Route: <sip:203.0.113.1:61000;lr>"],
    ["To: <sip:a@198.51.100.7>", "To: <sip:a@198.51.100.7>"],
    ["X-Own: <sip:10.0.0.2>", "X-Own: <sip:10.0.0.2>"],
    ["Warning: 399 10.0.0.2 x", "Warning: 399 10.0.0.2 x"],
    ["Via: SIP/2.0/UDP 10.0.0.2:5060;branch=2", "Via: SIP/2.0/UDP 10.0.0.2:5060;branch=2"],
  ])("%s leaves as %s", (before, after) => expect(header(before)).toBe(after));

  test("a folded header is one header (RFC 3261 section 7.3.1)", () => {
    const { say } = snat();
    const head = [
      "OPTIONS sip:x@h SIP/2.0",
      "v:\r\n SIP/2.0/UDP\r\n\t10.0.0.2 ;branch=1",
      "i: 1",
      "CSeq: 1 OPTIONS",
    ];
    expect(say(0, withBody(head, ""))).toContain("10.0.0.2 ;branch=1".replace("10.0.0.2", "10.0.0.2"));
    const plain = [
      "OPTIONS sip:x@h SIP/2.0",
      "v: SIP/2.0/UDP 10.0.0.2;branch=1",
      "m:\r\n <sip:10.0.0.2>",
      "i: 1",
      "CSeq: 1 OPTIONS",
    ];
    expect(say(0, withBody(plain, ""))).toContain("m:\r\n <sip:203.0.113.1:61000>\r\n");
  });

  test("what a server noted of the source is given back as the phone knows it (RFC 3581)", () => {
    const { say } = snat();
    const via = (end: string, rest: string): string => `Via: SIP/2.0/UDP ${end};branch=1${rest}`;
    const head = (line: string): string[] => ["SIP/2.0 200 OK", line, "Call-ID: 1", "CSeq: 1 OPTIONS"];
    const answer = say(1, withBody(head(via("203.0.113.1:61000", ";received=203.0.113.1;rport=61000")), ""));
    expect(answer).toContain(via("10.0.0.2:5060", ";received=10.0.0.2;rport=5060"));
    const other = via("192.0.2.9:5060", ";received=203.0.113.9;rport=61001");
    expect(say(1, withBody(head(other), ""))).toContain(other);
  });

  test("a message without Content-Length has its body to the end of the datagram (RFC 3261 section 18.3)", () => {
    const { rig, say } = snat();
    const without = invite(CALL).replace(/Content-Length: \d+\r\n/, "");
    expect(say(0, without)).toContain("c=IN IP4 203.0.113.1");
    expect(rig.expected()).toHaveLength(2);
  });
});

describe("session descriptions (RFC 8866)", () => {
  /** The description as it leaves through SNAT, with what is expected. */
  const describe_ = (
    lines: readonly string[],
    make = snat,
  ): { lines: string[]; expected: string[]; rig: Rig } => {
    const { rig, say } = make();
    const body = lines.map((line) => `${line}\r\n`).join("");
    const sent = say(0, invite(CALL, body));
    if (rig.result === "edited") expect(bodyIsWhole(sent)).toBe(true);
    return { lines: sent.split("\r\n\r\n")[1]!.trimEnd().split("\r\n"), expected: rig.expected(), rig };
  };

  test("each stream has its own ports; its own connection counts before the session's", () => {
    const { lines, expected } = describe_([
      "v=0",
      "c=IN IP4 192.0.2.1",
      "m=audio 6000 RTP/AVP 0",
      "c=IN IP4 10.0.0.2",
      "m=video 6002 RTP/SAVPF 96",
      "c=IN IP4 10.0.0.2",
      "a=sendrecv",
    ]);
    expect(lines).toEqual([
      "v=0",
      "c=IN IP4 192.0.2.1",
      "m=audio 40002 RTP/AVP 0",
      "c=IN IP4 203.0.113.1",
      "a=rtcp:40005",
      "m=video 40006 RTP/SAVPF 96",
      "c=IN IP4 203.0.113.1",
      "a=sendrecv",
      "a=rtcp:40009",
    ]);
    expect(expected).toHaveLength(4);
  });

  test("a=rtcp is kept and rewritten in its place (RFC 3605)", () => {
    const { lines, expected } = describe_([
      "c=IN IP4 10.0.0.2",
      "m=audio 6000 RTP/AVP 0",
      "a=rtcp:6555 IN IP4 10.0.0.2",
      "a=x",
    ]);
    expect(lines).toEqual([
      "c=IN IP4 203.0.113.1",
      "m=audio 40002 RTP/AVP 0",
      "a=rtcp:40005 IN IP4 203.0.113.1",
      "a=x",
    ]);
    expect(expected).toHaveLength(2);
  });

  test("neighbouring ports need no a=rtcp", () => {
    const { rig, say } = snat();
    rig.ports = [30_000, 30_001];
    expect(say(0, invite(CALL))).not.toContain("a=rtcp:");
  });

  test.each([
    ["a rejected stream", ["c=IN IP4 10.0.0.2", "m=audio 0 RTP/AVP 0"]],
    ["a stream on hold (RFC 3264 section 8.4)", ["c=IN IP4 0.0.0.0", "m=audio 6000 RTP/AVP 0"]],
    ["another host inside", ["c=IN IP4 10.0.0.3", "m=audio 6000 RTP/AVP 0"]],
    ["multicast", ["c=IN IP4 224.2.1.1/127", "m=audio 6000 RTP/AVP 0"]],
    ["a host name", ["c=IN IP4 media.example.org", "m=audio 6000 RTP/AVP 0"]],
    ["another family", ["c=IN IP6 fd00::2", "m=audio 6000 RTP/AVP 0"]],
    ["no connection at all", ["m=audio 6000 RTP/AVP 0"]],
    ["a range of ports", ["c=IN IP4 10.0.0.2", "m=audio 6000/2 RTP/AVP 0"]],
    ["a service's port", ["c=IN IP4 10.0.0.2", "m=audio 53 RTP/AVP 0"]],
    ["TCP", ["c=IN IP4 10.0.0.2", "m=message 6000 TCP/MSRP *"]],
  ])("%s opens nothing", (_, lines) => {
    const result = describe_(lines);
    expect(result.expected).toEqual([]);
    expect(result.lines.at(-1)).toBe(lines.at(-1));
  });

  test("fax over UDP has one port", () => {
    const { lines, expected } = describe_(["c=IN IP4 10.0.0.2", "m=image 6000 udptl t38"]);
    expect(lines).toEqual(["c=IN IP4 203.0.113.1", "m=image 40002 udptl t38"]);
    expect(expected).toEqual(["udp 198.51.100.7:* > 203.0.113.1:40002"]);
  });

  test("more than four streams, or more expectations than a master may have, are left alone", () => {
    const streams = Array.from({ length: 6 }, (_, i) => `m=audio ${6000 + 2 * i} RTP/AVP 0`);
    const many = describe_(["c=IN IP4 10.0.0.2", ...streams]);
    expect(many.expected).toHaveLength(8);
    expect(many.lines.slice(-2)).toEqual(streams.slice(-2));
    const few = describe_(["c=IN IP4 10.0.0.2", ...streams.slice(0, 2)], () =>
      snat(new Rig(HELPER_SIP, { sipPerMaster: 3 })),
    );
    expect(few.expected).toHaveLength(3);
    expect(few.rig.counter("helperRefused")).toBe(1);
  });

  test("a media server outside may be named from outside; then media of the call may come from there alone", () => {
    const { rig, say } = snat();
    const sent = say(0, invite(CALL));
    const media = { ip: "198.51.100.99", port: 5060, mediaPort: 7000 };
    const ok = response(sent, "200 OK", SERVER, sdp(media));
    expect(say(1, ok)).toContain("c=IN IP4 198.51.100.99");
    expect(rig.expected()).toEqual([
      "udp 10.0.0.2:* > 198.51.100.99:7000",
      "udp 10.0.0.2:* > 198.51.100.99:7001",
      "udp 198.51.100.99:* > 203.0.113.1:40002",
      "udp 198.51.100.99:* > 203.0.113.1:40005",
    ]);
    expect(rig.arrive(17, "10.0.0.2", 6000, "198.51.100.99", 7000, 0)).toBe(
      "198.51.100.99:7000 from 203.0.113.1:40002 (shown)",
    );
    expect(rig.arrive(17, "198.51.100.99", 7000, "203.0.113.1", 40_002, 1)).toBe(
      "10.0.0.2:6000 from 198.51.100.99",
    );
    // Both messages again change nothing.
    const before = rig.expected();
    say(0, invite(CALL));
    say(1, ok);
    expect(rig.expected()).toEqual(before);
  });

  test("a caller outside that names a media server is answered by media from the callee alone", () => {
    const { rig, say } = dnat();
    const caller: Call = { from: SERVER, to: { ip: "203.0.113.1", port: 5060 } };
    const callee: Party = { ip: "10.0.0.9", port: 5060, mediaPort: 6000 };
    const sent = say(0, invite(caller, sdp({ ip: "198.51.100.99", port: 0, mediaPort: 7000 })));
    say(1, response(sent, "200 OK", callee, sdp(callee)));
    expect(rig.expected()).toEqual([
      "udp 10.0.0.9:* > 198.51.100.99:7000",
      "udp 10.0.0.9:* > 198.51.100.99:7001",
      "udp 198.51.100.99:* > 203.0.113.1:40002",
      "udp 198.51.100.99:* > 203.0.113.1:40005",
    ]);
  });
});

describe("the life of a call", () => {
  test.each([
    ["BYE of the caller", (say: World["say"]) => say(0, bye(CALL))],
    [
      "BYE of the callee",
      (say: World["say"], sent: string) => say(1, bye({ ...CALL, id: /Call-ID: (.*)\r/.exec(sent)![1]! })),
    ],
    ["CANCEL", (say: World["say"]) => say(0, cancel(CALL))],
    ["486 Busy Here", (say: World["say"], sent: string) => say(1, response(sent, "486 Busy Here", SERVER))],
    [
      "407 Proxy Authentication Required",
      (say: World["say"], sent: string) => say(1, response(sent, "407 x", SERVER)),
    ],
  ])("%s ends what it expects", (_, finish) => {
    const { rig, say } = snat();
    const sent = say(0, invite(CALL));
    expect(rig.expected()).toHaveLength(2);
    finish(say, sent);
    expect(rig.expected()).toEqual([]);
  });

  test("a refused change of a call that stands leaves it, the end of its dialog does not", () => {
    const { rig, say } = snat();
    const sent = say(0, invite(CALL));
    say(1, response(sent, "200 OK", SERVER, sdp(SERVER)));
    say(1, response(sent, "488 Not Acceptable Here", SERVER));
    expect(rig.expected()).toHaveLength(4);
    say(1, response(sent, "481 Call/Transaction Does Not Exist", SERVER));
    expect(rig.expected()).toEqual([]);
  });

  test("another call's end, and an answer to something else, end nothing", () => {
    const { rig, say } = snat();
    const sent = say(0, invite(CALL));
    say(0, bye({ ...CALL, id: "another" }));
    say(1, response(sent.replace("CSeq: 1 INVITE", "CSeq: 1 OPTIONS"), "404 Not Found", SERVER));
    expect(rig.expected()).toHaveLength(2);
  });

  test("a call that rings is waited for three minutes from the last sign of it; its flow lives as long", () => {
    const { rig, row, say } = snat();
    const sent = say(0, invite(CALL));
    rig.wait(170_000);
    say(1, response(sent, "180 Ringing", SERVER));
    rig.wait(170_000);
    expect([rig.expected().length, rig.table.isUsed(row)]).toEqual([2, true]);
    rig.wait(120_000);
    expect(rig.table.allRows()).toEqual([]);
  });

  test("a call lives as long as its media flow, without any message; then its flow ends", () => {
    const { rig, row, say } = snat();
    const sent = say(0, invite(CALL));
    say(1, response(sent, "200 OK", SERVER, sdp(SERVER)));
    rig.arrive(17, "10.0.0.2", 6000, "198.51.100.7", 7000, 0);
    const media = rig.table.flow(
      17,
      "10.0.0.2:6000 > 198.51.100.7:7000",
      "198.51.100.7:7000 > 203.0.113.1:40002",
      3_600_000,
    );
    const meta = media * ROW_WORDS + F_META;
    rig.table.words[meta] = rig.table.words[meta]! | FLAG_EXPECTED;
    rig.wait(3_500_000);
    expect([rig.expected().length, rig.table.isUsed(row)]).toEqual([4, true]);
    rig.wait(300_000);
    expect(rig.table.allRows()).toEqual([]);
  });

  test("what a call expects ends with its flow, media with it", () => {
    const { rig, row, say } = snat();
    const sent = say(0, invite(CALL));
    say(1, response(sent, "200 OK", SERVER, sdp(SERVER)));
    rig.arrive(17, "10.0.0.2", 6000, "198.51.100.7", 7000, 0);
    rig.table.flow(17, "10.0.0.2:6000 > 198.51.100.7:7000", "198.51.100.7:7000 > 203.0.113.1:40002");
    rig.end(row);
    expect(rig.table.allRows()).toEqual([]);
  });
});

describe("registrations", () => {
  const from = { ip: "10.0.0.2", port: 5060 };
  const own = { from, registrar: "198.51.100.7" };

  test("a contact at the phone's own port becomes the flow's outside endpoint, and calls may come to it", () => {
    const { rig, say } = snat();
    const sent = say(0, register({ ...own, contact: "<sip:phone@10.0.0.2:5060>", expires: 600 }));
    expect(sent).toContain("Contact: <sip:phone@203.0.113.1:61000>\r\n");
    expect(rig.expected()).toEqual(["udp 198.51.100.7:* > 203.0.113.1:61000"]);
    const row = rig.find(17, "198.51.100.7", "203.0.113.1", 61_000, 1);
    expect(rig.helpers.expectations.isSignalling(row)).toBe(true);
  });

  test("a contact at another port gets a port of its own, and keeps it", () => {
    const { rig, say } = snat();
    const message = register({ ...own, contact: "<sip:phone@10.0.0.2:5070>", expires: 600 });
    const sent = say(0, message);
    expect(sent).toContain("Contact: <sip:phone@203.0.113.1:40002>\r\n");
    expect(say(0, message)).toBe(sent);
    expect(rig.arrive(17, "198.51.100.7", 5060, "203.0.113.1", 40_002, 1)).toBe(
      "10.0.0.2:5070 from 198.51.100.7",
    );
  });

  test("a registration keeps its flow and lasts as long as it asked, an hour at most", () => {
    for (const [expires, seconds] of [
      [600, 600],
      [86_400, 3600],
      [undefined, 3600],
    ] as const) {
      const { rig, row, say } = snat();
      say(
        0,
        register({ ...own, contact: "<sip:phone@10.0.0.2>", ...(expires === undefined ? {} : { expires }) }),
      );
      rig.wait((seconds - 10) * 1000);
      expect([rig.expected().length, rig.table.isUsed(row)]).toEqual([1, true]);
      rig.wait(120_000);
      expect(rig.table.allRows()).toEqual([]);
    }
  });

  test("the contact's own expires counts before the header's (RFC 3261 section 10.2.1.1)", () => {
    const { rig, say } = snat();
    say(0, register({ ...own, contact: "<sip:phone@10.0.0.2>;expires=60", expires: 600 }));
    rig.wait(100_000);
    expect(rig.expected()).toEqual([]);
  });

  test.each([
    ["an expires of 0", register({ ...own, contact: "<sip:phone@10.0.0.2>", expires: 0 })],
    ["a star with an expires of 0", register({ ...own, contact: "*", expires: 0 })],
  ])("%s ends it", (_, message) => {
    const { rig, say } = snat();
    say(0, register({ ...own, contact: "<sip:phone@10.0.0.2>", expires: 600 }));
    say(0, message);
    expect(rig.expected()).toEqual([]);
  });

  test("a refusal ends it, a request for a password does not", () => {
    const { rig, say } = snat();
    const sent = say(0, register({ ...own, contact: "<sip:phone@10.0.0.2>", expires: 600 }));
    say(1, response(sent, "401 Unauthorized", SERVER));
    expect(rig.expected()).toHaveLength(1);
    say(1, response(sent, "403 Forbidden", SERVER));
    expect(rig.expected()).toEqual([]);
  });

  test("another host's contact opens nothing", () => {
    const { rig, say } = snat();
    say(0, register({ ...own, contact: "<sip:phone@10.0.0.3>", expires: 600 }));
    expect(rig.expected()).toEqual([]);
  });
});

describe("what passes untouched and opens nothing", () => {
  const good = invite(CALL);
  test.each([
    ["a keep-alive (RFC 5626)", "\r\n\r\n"],
    ["STUN", "\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl"],
    ["RTP", "\x80\0\0\x01\0\0\0\x02\0\0\0\x03"],
    ["text without an end of headers", good.slice(0, 300)],
    [
      "more body announced than there is: the rest is in another datagram",
      good.replace(/Length: \d+/, "Length: 9999"),
    ],
    ["two lengths", good.replace("Content-Type", "l: 0\r\nContent-Type")],
    ["a length that is none", good.replace(/Length: \d+/, "Length: 0x10")],
    ["two Call-IDs", good.replace("CSeq", "i: other\r\nCSeq")],
    ["another method in CSeq", good.replace("1 INVITE", "1 BYE")],
    ["no Via", good.replace("Via:", "X-Via:")],
    ["another version", good.replace("SIP/2.0\r\n", "SIP/3.0\r\n")],
    ["a header without a colon", good.replace("Max-Forwards: 70", "Max-Forwards 70")],
    ["too many headers", good.replace("Max-Forwards: 70", Array(70).fill("m: a").join("\r\n"))],
  ])("%s", (_, message) => {
    const { rig, say } = snat();
    expect(say(0, message)).toBe(message);
    expect([rig.result, rig.expected()]).toEqual(["pass", []]);
  });

  test("a message that would no longer fit the way out", () => {
    const { rig, say } = snat();
    rig.totalBytesMax = 28 + good.length;
    expect(say(0, good)).toBe(good);
    expect(rig.counter("helperRefused")).toBe(1);
  });

  test("a message with a wrong checksum", () => {
    const { rig, row } = snat();
    const packet = rig.send(row, 0, 17, {
      from: "10.0.0.2",
      to: "198.51.100.7",
      sport: 5060,
      dport: 5060,
      payload: good,
    });
    expect(rig.result).toBe("edited");
    const bad = snat();
    packet.bytes[packet.l4At + 20] = packet.bytes[packet.l4At + 20]! ^ 1;
    bad.rig.process(bad.row, 0, packet);
    expect([bad.rig.result, bad.rig.expected()]).toEqual(["pass", []]);
  });

  test("a body that is no session description keeps its length and its text", () => {
    const { say } = snat();
    const message = good.replace("application/sdp", "text/plain");
    expect(say(0, message)).toContain("c=IN IP4 10.0.0.2");
  });
});

test("a message without a checksum stays without one (RFC 768)", () => {
  const { rig, row } = snat();
  const ends = { from: "10.0.0.2", to: "198.51.100.7", sport: 5060, dport: 5060 };
  const packet = rig.send(row, 0, 17, { ...ends, payload: invite(CALL), noChecksum: true });
  expect([rig.result, packet.bytes[packet.l4At + 6], packet.bytes[packet.l4At + 7]]).toEqual([
    "edited",
    0,
    0,
  ]);
});

test("on a node that does not decide the flow, messages that announce something wait; others are rewritten", () => {
  const { rig, say } = snat();
  rig.isOwner = false;
  say(0, invite(CALL));
  expect(rig.result).toBe("drop");
  say(0, register({ from: PHONE, registrar: "198.51.100.7", contact: "<sip:10.0.0.2>" }));
  expect(rig.result).toBe("drop");
  expect(say(0, ack(CALL))).toContain("Via: SIP/2.0/UDP 203.0.113.1:61000");
  expect(rig.table.rows(EXPECTATION_UDP)).toEqual([]);
  expect(rig.table.published).toEqual([]);
});
