/**
 * Net: the little of a host that test connections stand on, so that the same load runs over sockets of the kernel and over
 * simulated hosts in virtual time.
 */
import { connect } from "node:net";
import { nowMs } from "../../src/node/clock.ts";

/** What a connection must do, in the words of node:net. */
export interface TrafficSocket {
  on(event: "connect" | "close", listener: () => void): unknown;
  on(event: "data", listener: (bytes: Buffer) => void): unknown;
  on(event: "error", listener: (error: NodeJS.ErrnoException) => void): unknown;
  setNoDelay(isOn: boolean): unknown;
  /** Calls back when nothing happened for `ms`. */
  setTimeout(ms: number, callback: () => void): unknown;
  write(bytes: Uint8Array): unknown;
  /** Closes this direction; the other end does the same. */
  end(): unknown;
  destroy(): unknown;
}

export interface TrafficNet {
  nowMs(): number;
  /** Gives the function that ends it. */
  every(ms: number, callback: () => void): () => void;
  connect(target: {
    readonly host: string;
    readonly port: number;
    readonly localAddress: string;
  }): TrafficSocket;
}

export const systemNet: TrafficNet = {
  nowMs,
  every(ms, callback) {
    const timer = setInterval(callback, ms);
    return () => clearInterval(timer);
  },
  connect: (target) => connect(target),
};
