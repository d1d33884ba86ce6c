/**
 * Judge: a naive reading of the strict policies, beside the engine. An inside endpoint may be sent to only by whom it has sent to
 * before, except the served port; and nothing leaves to the forbidden port. It forgets nothing, so it is lenient about time.
 */
import { ip6, words } from "../unit/dataplane/frames.ts";
import { FORBIDDEN_PORT, SERVED_PORT, SERVER_V4, SERVER_V6 } from "./policies.ts";
import { locate, u16 } from "./wire.ts";

const GATEWAYS = ["10.10.0.1", "2001:db8:10::1", "fe80::1"].map(hexOf);
const SERVERS = [SERVER_V4, SERVER_V6].map(hexOf);

function hexOf(text: string): string {
  if (text.includes(":")) return ip6(text).toString(16).padStart(32, "0");
  return (words(text)[3]! >>> 0).toString(16).padStart(8, "0");
}

interface Ends {
  readonly protocol: number;
  readonly from: string;
  readonly to: string;
  readonly sport: number;
  readonly dport: number;
  readonly isLater: boolean;
  readonly isError: boolean;
  readonly isNeighbour: boolean;
}

function endsOf(b: Uint8Array): Ends | undefined {
  const type = b.length >= 14 ? u16(b, 12) : 0;
  const place = type === 0x0800 || type === 0x86dd ? locate(b, 14, b.length) : undefined;
  if (place === undefined) return undefined;
  const at = place.isIpv6 ? 14 + 8 : 14 + 12;
  const size = place.isIpv6 ? 16 : 4;
  const hex = Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString("hex", at, at + 2 * size);
  const { protocol, l4, isLater } = place;
  const hasPorts = (protocol === 6 || protocol === 17 || protocol === 132) && !isLater && l4 + 4 <= b.length;
  const isIcmp = (protocol === 1 || protocol === 58) && !isLater && l4 < b.length;
  return {
    protocol,
    from: hex.slice(0, 2 * size),
    to: hex.slice(2 * size),
    sport: hasPorts ? u16(b, l4) : 0,
    dport: hasPorts ? u16(b, l4 + 2) : 0,
    isLater,
    isError: isIcmp && (protocol === 1 ? [3, 11, 12].includes(b[l4]!) : b[l4]! < 128),
    isNeighbour: isIcmp && protocol === 58 && b[l4]! >= 133 && b[l4]! <= 137,
  };
}

export class Judge {
  /** protocol, inside end, outside end. */
  readonly #asked = new Set<string>();
  /** protocol of later fragments and of all else: the two addresses. */
  readonly #met = new Set<string>();

  /** A frame arrived from inside. */
  heard(b: Uint8Array): void {
    const ends = endsOf(b);
    if (ends === undefined) return;
    this.#asked.add(`${ends.protocol} ${ends.from} ${ends.sport} ${ends.to} ${ends.dport}`);
    this.#met.add(`${ends.from} ${ends.to}`);
  }

  /** Why a frame may not leave by a zone's port; "" when nothing speaks against it. */
  wrong(port: number, b: Uint8Array): string {
    const ends = endsOf(b);
    if (ends === undefined || ends.isNeighbour || ends.isError) return "";
    if (port === 1) {
      const isAnswer = ends.protocol === 6 && (ends.sport === SERVED_PORT || ends.sport === 8080);
      const isForbidden = ends.dport === FORBIDDEN_PORT && (ends.protocol === 6 || ends.protocol === 17);
      return isForbidden && !isAnswer ? "left to the forbidden port" : "";
    }
    if (port !== 0 || GATEWAYS.includes(ends.from)) return "";
    if (SERVERS.includes(ends.to) && (ends.isLater || (ends.protocol === 6 && ends.dport === SERVED_PORT)))
      return "";
    const isKnown =
      ends.isLater || ends.protocol === 1 || ends.protocol === 58
        ? this.#met.has(`${ends.to} ${ends.from}`)
        : this.#asked.has(`${ends.protocol} ${ends.to} ${ends.dport} ${ends.from} ${ends.sport}`);
    // The firewall itself answers in the name of a host whose connection it refuses or proxies.
    return isKnown ? "" : "entered although nobody inside had asked";
  }
}
