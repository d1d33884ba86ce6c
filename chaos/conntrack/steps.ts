/**
 * Steps: packets of a sequence as data, their bytes, and one line of text for people. Owns what can be said of a packet; hosts and
 * ports come from a lane, so that a sequence can be played again beside its earlier self.
 */
import { setI32, setU16 } from "../../src/packet/bytes.ts";
import { addBytes, checksum, fold, pseudoHeaderSum } from "../../src/packet/checksum.ts";

export type Side = "client" | "server";

export interface TcpStep {
  readonly kind: "tcp";
  readonly from: Side;
  /** FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32. */
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly length: number;
  /** Window scale option. */
  readonly scale?: number;
  readonly isSackOk?: boolean;
  /** SACK blocks: left and right edges (RFC 2018). */
  readonly sack?: readonly (readonly [number, number])[];
}

export interface UdpStep {
  readonly kind: "udp";
  readonly from: Side;
  /** Added to the server's port. */
  readonly shift: number;
}

export interface IcmpStep {
  readonly kind: "icmp";
  readonly from: Side;
  readonly type: number;
  readonly id: number;
}

/** An ICMP error about an earlier packet. */
export interface ErrorStep {
  readonly kind: "error";
  readonly from: Side;
  readonly type: number;
  readonly code: number;
  /** Position of the packet that it is about. */
  readonly about: number;
  /** Added to the source port of what it quotes. */
  readonly shift: number;
}

export type Step = TcpStep | UdpStep | IcmpStep | ErrorStep;

export interface Sequence {
  /** Whether the client, who opens, is inside. */
  readonly isClientInside: boolean;
  readonly serverPort: number;
  readonly steps: readonly Step[];
}

const IPV4_BYTES = 20;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const ICMP_BYTES = 8;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const CLIENT_PORT = 40_000;
const INSIDE_NET = 0x0a140000;
const OUTSIDE_NET = 0x0a1e0000;
const SERVER_HOST = 7;
const FIRST_HOST = 256;
/** Lanes that have hosts of their own. */
export const LANES = 60_000;
const FLAG_LETTERS = "FSRPAU";

/** Addresses of a lane's two ends. */
export function endsOf(sequence: Sequence, lane: number): Readonly<Record<Side, number>> {
  const [clientNet, serverNet] = sequence.isClientInside
    ? [INSIDE_NET, OUTSIDE_NET]
    : [OUTSIDE_NET, INSIDE_NET];
  return { client: clientNet + FIRST_HOST + (lane % LANES), server: serverNet + SERVER_HOST };
}

export function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** The IP packet of a step. */
export function render(sequence: Sequence, index: number, lane: number): Uint8Array {
  const step = sequence.steps[index]!;
  const ends = endsOf(sequence, lane);
  const source = ends[step.from];
  const destination = ends[step.from === "client" ? "server" : "client"];
  switch (step.kind) {
    case "tcp":
      return packetOf(TCP, source, destination, tcpBody(step, sequence.serverPort), 16);
    case "udp":
      return packetOf(UDP, source, destination, udpBody(step, sequence.serverPort), 6);
    case "icmp":
      return packetOf(
        ICMP,
        source,
        destination,
        Uint8Array.of(step.type, 0, 0, 0, step.id >> 8, step.id & 255, 0, 1),
        2,
      );
    case "error":
      return packetOf(ICMP, source, destination, errorBody(sequence, step, lane), 2);
    default:
      return step satisfies never;
  }
}

function packetOf(
  protocol: number,
  source: number,
  destination: number,
  body: Uint8Array,
  checksumAt: number,
): Uint8Array {
  const packet = new Uint8Array(IPV4_BYTES + body.length);
  packet[0] = 0x45;
  setU16(packet, 2, packet.length);
  packet[8] = 64;
  packet[9] = protocol;
  setI32(packet, 12, source);
  setI32(packet, 16, destination);
  setU16(packet, 10, checksum(packet, 0, IPV4_BYTES));
  packet.set(body, IPV4_BYTES);
  const pseudo = protocol === ICMP ? 0 : pseudoHeaderSum(source, destination, protocol, body.length);
  setU16(packet, IPV4_BYTES + checksumAt, fold(addBytes(pseudo, packet, IPV4_BYTES, body.length)));
  return packet;
}

function writePorts(body: Uint8Array, from: Side, serverPort: number): void {
  setU16(body, 0, from === "client" ? CLIENT_PORT : serverPort);
  setU16(body, 2, from === "client" ? serverPort : CLIENT_PORT);
}

function tcpBody(step: TcpStep, serverPort: number): Uint8Array {
  const options: number[] = [];
  if (step.scale !== undefined) options.push(1, 3, 3, step.scale);
  if (step.isSackOk === true) options.push(1, 1, 4, 2);
  if (step.sack !== undefined && step.sack.length > 0) {
    const words = step.sack.flat().flatMap((edge) => [24, 16, 8, 0].map((shift) => (edge >>> shift) & 255));
    options.push(1, 1, 5, 2 + words.length, ...words);
  }
  const body = new Uint8Array(TCP_BYTES + options.length + step.length);
  writePorts(body, step.from, serverPort);
  setI32(body, 4, step.seq);
  setI32(body, 8, step.ack);
  body[12] = ((TCP_BYTES + options.length) / 4) << 4;
  body[13] = step.flags;
  setU16(body, 14, step.window);
  body.set(options, TCP_BYTES);
  return body;
}

function udpBody({ from, shift }: UdpStep, serverPort: number): Uint8Array {
  const body = new Uint8Array(UDP_BYTES + 4);
  writePorts(body, from, serverPort + shift);
  setU16(body, 4, body.length);
  return body;
}

function errorBody(sequence: Sequence, step: ErrorStep, lane: number): Uint8Array {
  const about = render(sequence, step.about, lane).subarray(0, 64);
  const body = new Uint8Array(ICMP_BYTES + about.length);
  body[0] = step.type;
  body[1] = step.code;
  body.set(about, ICMP_BYTES);
  const portAt = ICMP_BYTES + IPV4_BYTES + (sequence.steps[step.about]!.kind === "icmp" ? 4 : 0);
  if (step.shift !== 0) setU16(body, portAt, ((body[portAt]! << 8) | body[portAt + 1]!) + step.shift);
  return body;
}

/** A line about a step: "server tcp SA seq 500 ack 101 win 1000 len 0". */
export function describe(step: Step): string {
  switch (step.kind) {
    case "tcp": {
      const flags = [...FLAG_LETTERS].filter((_, bit) => ((step.flags >> bit) & 1) !== 0).join("");
      const options = [
        ...(step.scale === undefined ? [] : [`scale ${step.scale}`]),
        ...(step.isSackOk === true ? ["sackOk"] : []),
        ...(step.sack ?? []).map(([left, right]) => `sack ${left >>> 0}-${right >>> 0}`),
      ];
      const numbers = `seq ${step.seq >>> 0} ack ${step.ack >>> 0} win ${step.window} len ${step.length}`;
      return [step.from, "tcp", flags === "" ? "-" : flags, numbers, ...options].join(" ");
    }
    case "udp":
      return `${step.from} udp${step.shift === 0 ? "" : ` to another port`}`;
    case "icmp":
      return `${step.from} icmp type ${step.type} id ${step.id}`;
    case "error":
      return `${step.from} icmp ${step.type}/${step.code} about packet ${step.about + 1}${step.shift === 0 ? "" : " with another port"}`;
    default:
      return step satisfies never;
  }
}
