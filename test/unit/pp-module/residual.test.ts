/**
 * FDP_RIP.2.1: no byte of what a buffer held before leaves in another packet, in padding or elsewhere.
 */
import { describe, expect, test } from "vitest";
import { ACTION_REJECT } from "../../../src/dataplane/policy-model.ts";
import { arp, echo, ethernet, icmp, ip6, ipPacket, mac, tcp, udp } from "../dataplane/frames.ts";
import { hostMac, PORT_INSIDE, verdictName, World } from "../dataplane/world.ts";
import { FAMILIES, IPV4, IPV6, OUTWARD, PLAIN, rules, type world } from "./families.ts";

const RESIDUE = 0xee;
const FRAME_MIN = 60;

/** Bytes of a frame that its own headers account for. */
function ownBytes(frame: Uint8Array): number {
  const type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x0806 || type === 0x8035) return 14 + 28;
  return 14 + (type === 0x86dd ? 40 + ((frame[18]! << 8) | frame[19]!) : (frame[16]! << 8) | frame[17]!);
}

/** No frame that left has a byte of what was in memory, and its padding is zero. */
function isClean(firewall: World, framesMin = 1): void {
  const sent = firewall.take();
  expect(sent.length).toBeGreaterThanOrEqual(framesMin);
  for (const { frame } of sent) {
    expect(frame.length).toBe(Math.max(FRAME_MIN, ownBytes(frame)));
    expect([...frame.subarray(ownBytes(frame))].filter((byte) => byte !== 0)).toEqual([]);
    expect(frame.includes(RESIDUE)).toBe(false);
  }
}

function dirty(part: Parameters<typeof world>[0] = {}): World {
  const firewall = new World({ policy: { ...PLAIN, ...part }, answersArp: true });
  firewall.frames.bytes.fill(RESIDUE);
  return firewall;
}

describe.each(FAMILIES)("$name", (family) => {
  const ends = { from: family.client, to: family.server };
  const reject = { rules: rules({ ...OUTWARD, action: ACTION_REJECT }) };
  const short = { ...ends, sport: 1, dport: 2, payload: new Uint8Array(0) };

  test("FDP_RIP.2.1 forwarded packets, also those shorter than a frame, and what the sender padded them with", () => {
    const packets = [
      tcp({ ...short, flags: "S" }),
      udp(short),
      udp({ ...short, dport: 3, payload: Uint8Array.of(1) }),
      echo({ ...ends, id: 1 }),
      ipPacket(47, ends, new Uint8Array(0)),
      ipPacket(50, ends, new Uint8Array(4)),
    ];
    for (const packet of packets) {
      for (const trailer of [0, 1, 7, 40]) {
        const firewall = dirty();
        const padded = Uint8Array.from([...packet, ...new Uint8Array(trailer).fill(RESIDUE)]);
        const type = family.isIpv6 ? 0x86dd : 0x0800;
        firewall.receive(PORT_INSIDE, ethernet(firewall.ports[0]!.mac, hostMac(family.client), type, padded));
        isClean(firewall);
      }
    }
  });

  test("FDP_RIP.2.1 resets and ICMP errors that the firewall makes", () => {
    for (const packet of [tcp({ ...short, flags: "S" }), udp(short), echo({ ...ends, id: 1 })]) {
      const firewall = dirty(reject);
      expect(verdictName(firewall.packet(PORT_INSIDE, packet))).toBe("denied");
      isClean(firewall);
    }
    const late = dirty();
    expect(verdictName(late.packet(PORT_INSIDE, udp({ ...short, ttl: 1 })))).toBe("ttl");
    isClean(late);
  });

  test("FDP_RIP.2.1 answers of the gateway to echo requests", () => {
    const firewall = dirty();
    firewall.packet(PORT_INSIDE, echo({ from: family.client, to: family.gateway, id: 1 }));
    isClean(firewall);
  });

  test("FDP_RIP.2.1 questions to neighbours and announcements", () => {
    const firewall = new World({ policy: PLAIN, answersArp: false });
    firewall.frames.bytes.fill(RESIDUE);
    firewall.packet(PORT_INSIDE, udp(short));
    firewall.engine.announceSlots([0, 1]);
    for (let i = 0; i < 5; i++) firewall.tick(1000);
    isClean(firewall, 2);
  });
});

test("FDP_RIP.2.1 IPv4: answers to ARP requests", () => {
  const firewall = dirty();
  const host = hostMac(IPV4.client);
  const request = arp({ op: 1, senderMac: host, sender: IPV4.client, target: IPV4.gateway });
  firewall.receive(PORT_INSIDE, ethernet(new Uint8Array(6).fill(255), host, 0x0806, request));
  isClean(firewall);
});

test("FDP_RIP.2.1 IPv6: answers to neighbour solicitations", () => {
  const firewall = dirty();
  const target = Array.from({ length: 16 }, (_, i) =>
    Number((ip6(IPV6.gateway) >> BigInt(120 - 8 * i)) & 255n),
  );
  const host = hostMac(IPV6.client);
  const message = Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0, ...target, 1, 1, ...host);
  const packet = icmp({ from: IPV6.client, to: "ff02::1:ff00:1", ttl: 255 }, message);
  firewall.receive(PORT_INSIDE, ethernet(mac("33:33:ff:00:00:01"), host, 0x86dd, packet));
  isClean(firewall);
});
