import { describe, expect, test } from "vitest";
import { DROP_REASONS, VERDICT_DROP_BASE, verdictName } from "../../../../src/dataplane/verdict.ts";
import { answerFor, askedAddress, isHousekeeping } from "../../../../src/node/replay/neighbour-answers.ts";
import { buildPacket, type PacketSpec } from "../../../../src/node/replay/packet-builder.ts";
import { endText, packetText, parseEnd } from "../../../../src/node/replay/packet-text.ts";
import { viewPacket } from "../../../../src/node/replay/packet-view.ts";
import { verdictAdvice, verdictMeaning } from "../../../../src/node/replay/verdict-text.ts";
import { parseAddress } from "../../../../src/policy/address.ts";
import {
  arp,
  echo,
  ethernet,
  icmpError,
  internetChecksum,
  ip,
  ipv4,
  mac,
  see,
  seeIp,
  tcp,
  udp,
} from "../../dataplane/frames.ts";

const SPEC: PacketSpec = {
  source: ip("10.0.0.1"),
  destination: ip("192.0.2.1"),
  protocol: 6,
  sourcePort: 4000,
  destinationPort: 80,
  icmpType: 8,
  icmpCode: 0,
};
const V6 = { source: parseAddress("2001:db8::1")!, destination: parseAddress("2001:db8:1::2")! };

describe("buildPacket()", () => {
  test.each([6, 17, 1, 47])("makes an IPv4 packet of protocol %i with right checksums", (protocol) => {
    const seen = seeIp(buildPacket({ ...SPEC, protocol }));
    expect(seen).toMatchObject({ from: "10.0.0.1", to: "192.0.2.1", protocol, headerOk: true, bodyOk: true });
  });

  test.each([6, 17, 58])(
    "makes an IPv6 packet of protocol %i with right checksums (RFC 8200 section 8.1)",
    (protocol) => {
      const packet = buildPacket({ ...SPEC, ...V6, protocol, icmpType: 128 });
      const length = packet.length - 40;
      const pseudo = Uint8Array.from([...packet.subarray(8, 40), 0, 0, 0, length, 0, 0, 0, protocol]);
      expect(internetChecksum(pseudo, packet.subarray(40))).toBe(0);
      expect(viewPacket(packet)).toMatchObject({ family: 6, ...V6, protocol, totalBytes: packet.length });
    },
  );

  test("an ICMP error is about a datagram of the other direction", () => {
    const view = viewPacket(buildPacket({ ...SPEC, protocol: 1, icmpType: 3, icmpCode: 1 }));
    expect(packetText(view!)).toBe(
      "icmp 10.0.0.1 > 192.0.2.1 type 3 code 1 about (udp 192.0.2.1:80 > 10.0.0.1:4000)",
    );
  });
});

describe("packets in words", () => {
  const ends = { from: "10.0.0.1", to: "192.0.2.1" };
  test.each([
    [tcp({ ...ends, sport: 1, dport: 2, flags: "SA" }), "tcp 10.0.0.1:1 > 192.0.2.1:2 SYN ACK"],
    [tcp({ ...ends, sport: 1, dport: 2, flags: "" }), "tcp 10.0.0.1:1 > 192.0.2.1:2 no flags"],
    [udp({ ...ends, sport: 1, dport: 2 }), "udp 10.0.0.1:1 > 192.0.2.1:2"],
    [echo({ ...ends, id: 7, isReply: true }), "icmp 10.0.0.1 > 192.0.2.1 echo reply id 7"],
    [ipv4(47, ends, new Uint8Array(8)), "gre 10.0.0.1 > 192.0.2.1"],
    [ipv4(17, { ...ends, fragment: 3 }, new Uint8Array(8)), "udp 10.0.0.1 > 192.0.2.1 fragment"],
    [
      icmpError(ends, 11, 0, udp({ from: "192.0.2.1", to: "10.0.0.1", sport: 5, dport: 6 })),
      "icmp 10.0.0.1 > 192.0.2.1 type 11 code 0 about (udp 192.0.2.1:5 > 10.0.0.1:6)",
    ],
  ])("%#", (packet, text) => {
    expect(packetText(viewPacket(packet)!)).toBe(text);
  });

  test("a packet cut anywhere is read as far as it goes, or not at all", () => {
    const whole = [
      icmpError(ends, 3, 4, tcp({ from: "192.0.2.1", to: "10.0.0.1", sport: 5, dport: 6, flags: "A" })),
      buildPacket({ ...SPEC, ...V6, protocol: 17 }),
    ];
    for (const packet of whole) {
      for (let length = 0; length <= packet.length; length++) {
        const view = viewPacket(packet.slice(0, length));
        if (view !== undefined) expect(packetText(view)).not.toMatch(/undefined|NaN/);
        else expect(length).toBeLessThan(40);
      }
    }
  });

  test("IPv6 extension headers are stepped over", () => {
    const inner = buildPacket({ ...SPEC, ...V6, protocol: 17 });
    const packet = Uint8Array.from([
      ...inner.subarray(0, 6),
      0,
      ...inner.subarray(7, 40),
      ...[44, 0, 1, 4, 0, 0, 0, 0],
      ...[17, 0, 0, 1, 0, 0, 0, 9],
      ...inner.subarray(40),
    ]);
    expect(viewPacket(packet)).toMatchObject({
      protocol: 17,
      isFragment: true,
      hasTransport: true,
      destinationPort: 80,
    });
  });

  test.each(["10.0.0.1", "10.0.0.1:80", "[2001:db8::1]:443", "2001:db8::1", "::"])(
    "%s is read and written",
    (text) => {
      const end = parseEnd(text)!;
      expect(endText(end.address, end.port)).toBe(text);
    },
  );

  test.each([
    "",
    "10.0.0",
    "10.0.0.1:",
    "10.0.0.1:65536",
    "10.0.0.1:x",
    "[10.0.0.1",
    "2001:db8::1::2",
    "[::1]443",
  ])("%j is no end", (text) => {
    expect(parseEnd(text)).toBeUndefined();
  });
});

test("every verdict has a meaning in words of its own", () => {
  for (let reason = 0; reason < DROP_REASONS.length; reason++) {
    const verdict = VERDICT_DROP_BASE + reason;
    expect([verdictName(verdict), verdictMeaning(verdict)]).not.toEqual([
      verdictName(verdict),
      verdictName(verdict).replaceAll("_", " "),
    ]);
    expect(verdictAdvice(verdict)).not.toMatch(/\.$/);
  }
});

describe("neighbours", () => {
  test("an ARP request is answered by who is asked (RFC 826)", () => {
    const us = mac("02:00:00:00:00:01");
    const question = ethernet(
      mac("ff:ff:ff:ff:ff:ff"),
      us,
      0x0806,
      arp({ op: 1, senderMac: us, sender: "0.0.0.0", target: "10.0.0.9" }),
    );
    expect([isHousekeeping(question), askedAddress(question)]).toEqual([true, ip("10.0.0.9")]);
    const answer = see(answerFor(question));
    expect(answer.destinationMac).toBe("02:00:00:00:00:01");
    expect(answer.arp).toMatchObject({
      op: 2,
      sender: "10.0.0.9",
      target: "0.0.0.0",
      targetMac: "02:00:00:00:00:01",
    });
    expect(answer.arp!.senderMac).toBe(answer.sourceMac);
    expect(askedAddress(answerFor(question))).toBeUndefined();
  });

  test.each([
    ["fe80::1", "fe80::1"],
    ["::", "ff02::1"],
  ])("a solicitation of %s is answered to %s (RFC 4861 section 7.2.4)", (asker, answered) => {
    const target = parseAddress("2001:db8::9")!;
    const message = buildPacket({
      ...SPEC,
      source: parseAddress(asker)!,
      destination: parseAddress("ff02::1:ff00:9")!,
      protocol: 58,
      icmpType: 135,
    });
    const solicitation = Uint8Array.from([...message, ...new Uint8Array(16)]);
    for (let i = 0; i < 16; i++)
      solicitation[48 + i] = Number(((target as bigint) >> BigInt(120 - 8 * i)) & 255n);
    solicitation[5] = 24;
    const frame = ethernet(mac("33:33:ff:00:00:09"), mac("02:00:00:00:00:01"), 0x86dd, solicitation);
    expect([isHousekeeping(frame), askedAddress(frame)]).toEqual([true, target]);
    const answer = answerFor(frame);
    const view = viewPacket(answer, 14)!;
    expect(view).toMatchObject({
      source: target,
      destination: parseAddress(answered),
      icmpType: 136,
      hops: 255,
    });
    const pseudo = Uint8Array.from([...answer.subarray(22, 54), 0, 0, 0, 32, 0, 0, 0, 58]);
    expect(internetChecksum(pseudo, answer.subarray(54))).toBe(0);
  });
});
