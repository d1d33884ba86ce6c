/** Answers: what the world says to what an engine sent: ARP and NDP answers, replies of hosts, errors of routers, the cluster link. */
import { advertisement, arp, ethernet, icmpError, mac, macText } from "../unit/dataplane/frames.ts";
import { hostMac } from "../unit/dataplane/world.ts";
import { gatewayMac } from "./seeds.ts";
import { locate, mend, put16, put32, u16, u32 } from "./wire.ts";

const dotted = (b: Uint8Array, at: number): string => `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`;

/** The neighbour's answer when a frame asks for one, else undefined. */
export function neighbourAnswer(b: Uint8Array): Uint8Array | undefined {
  const type = u16(b, 12);
  if (type === 0x0806 && u16(b, 20) === 1 && u32(b, 28) === 0) {
    const asker = b.subarray(6, 12);
    const target = dotted(b, 38);
    const host = hostMac(target);
    return ethernet(
      asker,
      host,
      0x0806,
      arp({ op: 2, senderMac: host, sender: target, targetMac: asker, target: "0.0.0.0" }),
    );
  }
  const isAsking = type === 0x86dd && b[20] === 58 && b[54] === 135 && b.length >= 78;
  return isAsking ? advertisement(b) : undefined;
}

/** What the far end of a packet answers, as a frame to `port`; undefined: it keeps silent. */
export function reply(port: number, b: Uint8Array): Uint8Array | undefined {
  const place = u16(b, 12) === 0x0800 || u16(b, 12) === 0x86dd ? locate(b, 14, b.length) : undefined;
  if (place === undefined || place.isFragment || place.end > b.length || place.l4 + 8 > place.end)
    return undefined;
  const { l4, protocol, isIpv6 } = place;
  const out = b.slice();
  out.set(b.subarray(0, 6), 6);
  out.set(gatewayMac(port), 0);
  const [at, size] = isIpv6 ? [22, 16] : [26, 4];
  out.set(b.subarray(at + size, at + 2 * size), at);
  out.set(b.subarray(at, at + size), at + size);
  out[isIpv6 ? 21 : 22] = 64;
  if (protocol === 6 || protocol === 17 || protocol === 132) {
    put16(out, l4, u16(b, l4 + 2));
    put16(out, l4 + 2, u16(b, l4));
    if (protocol === 6 && l4 + 20 <= place.end) answerSegment(b, out, l4, place.end);
  } else if (protocol === (isIpv6 ? 58 : 1)) {
    if (b[l4] === 8) out[l4] = 0;
    else if (b[l4] === 128) out[l4] = 129;
    else return undefined;
  } else if (protocol !== 47 && protocol !== 50) {
    return undefined;
  }
  mend(out, 0, out.length);
  return out;
}

function answerSegment(b: Uint8Array, out: Uint8Array, l4: number, end: number): void {
  const flags = b[l4 + 13]!;
  const data = end - l4 - (b[l4 + 12]! >> 4) * 4;
  const took = Math.max(0, data) + ((flags & 2) >> 1) + (flags & 1);
  put32(out, l4 + 8, (u32(b, l4 + 4) + took) % 2 ** 32);
  put32(out, l4 + 4, (flags & 16) === 0 ? 500 : u32(b, l4 + 8));
  out[l4 + 13] =
    (flags & 4) !== 0 ? 16 : (flags & 2) !== 0 && (flags & 16) === 0 ? 18 : (flags & 1) !== 0 ? 17 : 16;
}

/** What a router on the way says of a packet that left by `port`. */
export function routerError(port: number, b: Uint8Array, code: number): Uint8Array | undefined {
  const type = u16(b, 12);
  const isIpv6 = type === 0x86dd;
  const place = type === 0x0800 || isIpv6 ? locate(b, 14, b.length) : undefined;
  if (place === undefined || place.end > b.length) return undefined;
  const about = b.slice(14, place.end);
  const hex = Buffer.from(about).toString("hex", 8, 24);
  const to = isIpv6 ? (hex.match(/..../g) ?? []).join(":") : dotted(about, 12);
  const from =
    port === 0 ? (isIpv6 ? "2001:db8:10::7" : "10.10.0.7") : isIpv6 ? "2001:db8:f::fe" : "198.51.100.254";
  const kind = isIpv6 ? [1, 2, 3][code % 3]! : [3, 11, 3][code % 3]!;
  const sub = !isIpv6 && code % 3 === 2 ? 4 : 0;
  const packet = icmpError({ from, to }, kind, sub, about, kind === 2 || sub === 4 ? 1300 : 0);
  return ethernet(gatewayMac(port), mac(macText(b.subarray(0, 6))), type, packet);
}
