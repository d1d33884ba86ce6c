/**
 * Witness heartbeats: an ordinary UDP socket, since a witness has no ports of its own. Owns the socket. Everybody who receives checks the
 * HMAC; the TTL is checked by the nodes (hop-limit.ts).
 */
import { createSocket, type Socket } from "node:dgram";
import { SynwallError } from "../base/errors.ts";
import { HEARTBEAT_PORT } from "../packet/udp.ts";
import { HEARTBEAT_TTL } from "./heartbeat-frames.ts";

export interface WitnessHeartbeatsOptions {
  readonly address: string;
  /** Dotted; undefined: there is no such peer. */
  readonly addressOf: (node: number) => string | undefined;
  readonly onDatagram: (bytes: Uint8Array, fromAddress: string) => void;
}

export class WitnessHeartbeats {
  readonly #options: WitnessHeartbeatsOptions;
  readonly #socket: Socket;

  constructor(options: WitnessHeartbeatsOptions) {
    this.#options = options;
    // Members have addresses: there is no name to look up for each datagram.
    this.#socket = createSocket({
      type: "udp4",
      reuseAddr: false,
      lookup: (address, _options, found) => found(null, address, 4),
    });
  }

  /** Binds. Throws SW_PORT_TAKEN. */
  async start(): Promise<void> {
    const { address, onDatagram } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#socket.once("error", (cause) =>
        reject(
          new SynwallError(
            "SW_PORT_TAKEN",
            `cannot listen on ${address}:${HEARTBEAT_PORT}/udp for heartbeats: ${cause.message}; is another witness running, and is the address on this machine?`,
            {},
            cause,
          ),
        ),
      );
      this.#socket.bind(HEARTBEAT_PORT, address, resolve);
    });
    this.#socket.removeAllListeners("error");
    // A peer that is down answers with ICMP unreachable: no failure of ours.
    this.#socket.on("error", () => {});
    this.#socket.setTTL(HEARTBEAT_TTL);
    this.#socket.on("message", (bytes, { address }) => onDatagram(bytes, address));
  }

  send(node: number, bytes: Uint8Array): void {
    const address = this.#options.addressOf(node);
    // The writer's buffer is used again at once; the socket sends later.
    if (address !== undefined) this.#socket.send(Buffer.from(bytes), HEARTBEAT_PORT, address, () => {});
  }

  close(): void {
    this.#socket.close();
  }
}
