/**
 * Simulated host: an ordinary machine beside the firewall, with addresses on one wire, a gateway, and the sockets that test
 * traffic needs. Owns what a kernel's stack does for them; TCP itself is tcp.ts.
 */
import { AssertionError } from "../../../src/base/assert.ts";
import * as arp from "../../../src/packet/arp.ts";
import { u16 } from "../../../src/packet/bytes.ts";
import { isGroup, isMac } from "../../../src/packet/ethernet.ts";
import * as icmp from "../../../src/packet/icmp.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../../src/packet/ipv4.ts";
import { ACK, RST, SYN } from "../../../src/packet/tcp.ts";
import { formatIpv4, parseIpv4 } from "../../../src/policy/address.ts";
import type { TrafficNet } from "../../traffic/net.ts";
import type { SimClock } from "./clock.ts";
import { Neighbours } from "./neighbours.ts";
import { Nic } from "./nic.ts";
import {
  arpFrame,
  type Datagram,
  type Ends,
  icmpFrame,
  readArp,
  readIp,
  readTcp,
  readUdp,
  type Segment,
  tcpFrame,
  udpFrame,
  writeMacs,
} from "./packets.ts";
import { TcpSocket } from "./tcp.ts";

const BROADCAST = new Uint8Array(6).fill(0xff);
const NO_MAC = new Uint8Array(6);
const FIRST_EPHEMERAL_PORT = 32_768;
const LAST_EPHEMERAL_PORT = 60_999;
const NETMASK = 0xffff_ff00;

export interface HostOptions {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Where everything goes that is not on the wire. */
  readonly gateway: string;
}

/** `payload` is valid during the call only. */
type HearDatagram = (payload: Buffer, from: { readonly address: string; readonly port: number }) => void;

export class SimHost implements TrafficNet {
  readonly nic: Nic;
  /** Packets to which nobody here can have given cause: SYNs to closed ports, datagrams to ports without a socket. */
  strangers = 0;
  /** Frames whose checksums were wrong, or that were no packets at all. */
  malformed = 0;
  onEchoReply: (id: number, sequence: number, from: string) => void = () => undefined;
  readonly #clock: SimClock;
  readonly #random: (bound: number) => number;
  readonly #addresses: ReadonlySet<number>;
  readonly #network: number;
  readonly #gateway: number;
  readonly #neighbours: Neighbours;
  readonly #listeners = new Map<number, (socket: TcpSocket) => void>();
  readonly #connections = new Map<string, TcpSocket>();
  readonly #datagrams = new Map<string, HearDatagram>();
  #port = FIRST_EPHEMERAL_PORT;

  constructor(options: HostOptions, clock: SimClock, random: (bound: number) => number) {
    this.#clock = clock;
    this.#random = random;
    this.#addresses = new Set(options.addresses.map(numeric));
    this.#network = (numeric(options.addresses[0]!) & NETMASK) >>> 0;
    this.#gateway = numeric(options.gateway);
    this.nic = new Nic(`${options.name}-eth0`, (frame) => this.#receive(frame));
    this.#neighbours = new Neighbours({
      nowMs: () => clock.nowMs(),
      after: (ms, callback) => clock.after(ms, callback),
      ask: (target, sender) => this.#askArp(target, sender),
      send: (frame, mac) => {
        writeMacs(frame, mac, this.nic.mac);
        this.nic.send(frame);
      },
    });
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  every(ms: number, callback: () => void): () => void {
    return this.#clock.every(ms, callback);
  }

  // ---------------------------------------------------------------- sockets

  listen(port: number, onConnection: (socket: TcpSocket) => void): void {
    this.#listeners.set(port, onConnection);
  }

  connect({ host, port, localAddress }: Parameters<TrafficNet["connect"]>[0]): TcpSocket {
    const ends = { source: numeric(localAddress), destination: numeric(host) };
    const socket = this.#makeSocket(ends, this.#ephemeralPort(ends, port), port);
    // What the caller listens to is not known yet.
    this.#clock.wire(0, () => socket.open());
    return socket;
  }

  /** Takes datagrams to this address and port. */
  bind(address: string, port: number, hear: HearDatagram): void {
    this.#datagrams.set(`${numeric(address)}:${port}`, hear);
  }

  sendDatagram(
    from: { readonly address: string; readonly port: number },
    to: { readonly address: string; readonly port: number },
    payload: Uint8Array,
  ): void {
    const ends = { source: numeric(from.address), destination: numeric(to.address) };
    this.#output(ends, udpFrame(ends, { source: from.port, destination: to.port }, payload));
  }

  sendEcho(from: string, to: string, id: number, sequence: number): void {
    const ends = { source: numeric(from), destination: numeric(to) };
    this.#output(ends, icmpFrame(ends, echo(icmp.ICMP_ECHO, id, sequence)));
  }

  /** A SYN without a socket: what a port scan sends. */
  sendSyn(from: string, to: { readonly address: string; readonly port: number }, fromPort: number): void {
    const ends = { source: numeric(from), destination: numeric(to.address) };
    const seq = this.#random(0xffff_ffff);
    const segment = {
      sourcePort: fromPort,
      destinationPort: to.port,
      seq,
      ack: 0,
      flags: SYN,
      payload: Buffer.alloc(0),
    };
    this.#output(ends, tcpFrame(ends, segment));
  }

  // ---------------------------------------------------------------- wire

  #receive(frame: Uint8Array): void {
    if (!isGroup(frame, 0) && !isMac(frame, 0, this.nic.mac, 0)) return;
    const asked = readArp(frame);
    if (asked !== undefined) {
      this.#onArp(asked);
      return;
    }
    if (frame[12] !== 8 || frame[13] !== 0) return;
    const datagram = readIp(frame);
    if (datagram === undefined) this.malformed++;
    else if (this.#addresses.has(datagram.destination)) this.#onDatagram(datagram);
  }

  #onArp({ operation, sender, senderMac, target }: NonNullable<ReturnType<typeof readArp>>): void {
    if (!this.#addresses.has(target)) return;
    this.#neighbours.heard(sender, senderMac);
    if (operation !== arp.ARP_REQUEST) return;
    const answer = arpFrame({
      operation: arp.ARP_REPLY,
      senderMac: this.nic.mac,
      sender: target,
      targetMac: senderMac,
      target: sender,
    });
    writeMacs(answer, senderMac, this.nic.mac);
    this.nic.send(answer);
  }

  #askArp(target: number, sender: number): void {
    const question = arpFrame({
      operation: arp.ARP_REQUEST,
      senderMac: this.nic.mac,
      sender,
      targetMac: NO_MAC,
      target,
    });
    writeMacs(question, BROADCAST, this.nic.mac);
    this.nic.send(question);
  }

  #output({ source, destination }: Ends, frame: Buffer): void {
    const isOnWire = (destination & NETMASK) >>> 0 === this.#network;
    this.#neighbours.send(frame, isOnWire ? destination : this.#gateway, source);
  }

  // ---------------------------------------------------------------- protocols

  #onDatagram(datagram: Datagram): void {
    switch (datagram.protocol) {
      case PROTOCOL_TCP:
        this.#onTcp(datagram, readTcp(datagram.body));
        return;
      case PROTOCOL_UDP: {
        const { sourcePort, destinationPort, payload } = readUdp(datagram.body);
        const hear = this.#datagrams.get(`${datagram.destination}:${destinationPort}`);
        if (hear === undefined) this.strangers++;
        else hear(payload, { address: formatIpv4(datagram.source), port: sourcePort });
        return;
      }
      case PROTOCOL_ICMP:
        this.#onIcmp(datagram);
        return;
    }
  }

  #onIcmp({ source, destination, body }: Datagram): void {
    const [id, sequence] = [icmp.id(body, 0), u16(body, icmp.ICMP_ID + 2)];
    if (body[0] === icmp.ICMP_ECHO) {
      const ends = { source: destination, destination: source };
      this.#output(ends, icmpFrame(ends, echo(icmp.ICMP_ECHO_REPLY, id, sequence)));
    } else if (body[0] === icmp.ICMP_ECHO_REPLY) {
      this.onEchoReply(id, sequence, formatIpv4(source));
    }
  }

  #onTcp({ source, destination }: Datagram, segment: Segment): void {
    const ends = { source: destination, destination: source };
    const key = keyOf(ends, segment.destinationPort, segment.sourcePort);
    const known = this.#connections.get(key);
    if (known !== undefined) {
      known.receive(segment);
      return;
    }
    const isSyn = (segment.flags & (SYN | ACK)) === SYN;
    const onConnection = isSyn ? this.#listeners.get(segment.destinationPort) : undefined;
    if (onConnection !== undefined) {
      const socket = this.#makeSocket(ends, segment.destinationPort, segment.sourcePort);
      onConnection(socket);
      socket.accept(segment);
      return;
    }
    if (isSyn) this.strangers++;
    if ((segment.flags & RST) === 0) this.#refuse(ends, segment);
  }

  /** RFC 9293 section 3.10.7.1. */
  #refuse(ends: Ends, { sourcePort, destinationPort, seq, ack, flags, payload }: Segment): void {
    const isAck = (flags & ACK) !== 0;
    const answer: Segment = {
      sourcePort: destinationPort,
      destinationPort: sourcePort,
      seq: isAck ? ack : 0,
      ack: isAck ? 0 : (seq + payload.length + 1) >>> 0,
      flags: isAck ? RST : RST | ACK,
      payload: Buffer.alloc(0),
    };
    this.#output(ends, tcpFrame(ends, answer));
  }

  #makeSocket(ends: Ends, localPort: number, remotePort: number): TcpSocket {
    const key = keyOf(ends, localPort, remotePort);
    const socket = new TcpSocket({
      host: {
        nowMs: () => this.#clock.nowMs(),
        after: (ms, callback) => this.#clock.wire(ms, callback),
        random: this.#random,
      },
      localPort,
      remotePort,
      send: (segment) => this.#output(ends, tcpFrame(ends, segment)),
      onGone: () => this.#connections.delete(key),
    });
    this.#connections.set(key, socket);
    return socket;
  }

  #ephemeralPort(ends: Ends, remotePort: number): number {
    for (let i = FIRST_EPHEMERAL_PORT; i <= LAST_EPHEMERAL_PORT; i++) {
      const port = this.#port;
      this.#port = port === LAST_EPHEMERAL_PORT ? FIRST_EPHEMERAL_PORT : port + 1;
      if (!this.#connections.has(keyOf(ends, port, remotePort))) return port;
    }
    throw new AssertionError("a simulated host has no free port left");
  }
}

function keyOf({ source, destination }: Ends, localPort: number, remotePort: number): string {
  return `${source}:${localPort}>${destination}:${remotePort}`;
}

function echo(type: number, id: number, sequence: number): Buffer {
  const message = Buffer.alloc(16);
  message[0] = type;
  message.writeUInt16BE(id, 4);
  message.writeUInt16BE(sequence, 6);
  return message;
}

/** Addresses that were read before; a lab has a few hundred. */
const read = new Map<string, number>();

function numeric(address: string): number {
  const known = read.get(address);
  if (known !== undefined) return known;
  const parsed = parseIpv4(address);
  if (parsed === undefined) throw new AssertionError(`"${address}" is no IPv4 address`);
  read.set(address, parsed >>> 0);
  return parsed >>> 0;
}
