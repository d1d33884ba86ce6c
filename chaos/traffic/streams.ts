/**
 * Streams: long-lived TCP connections, one from each client address, that exchange checked bytes for as long as a drill
 * runs. Owns when one counts as broken: reset, ended, timed out, or a wrong byte.
 */
import { systemNet, type TrafficNet, type TrafficSocket } from "./net.ts";
import { reply, request } from "./pattern.ts";
import { STREAM_PORT } from "./ports.ts";

const EXCHANGE_INTERVAL_MS = 200;
const MESSAGE_BYTES = 256;
/** No answer for so long: the connection is as good as dead. */
const SILENCE_MAX_MS = 10_000;
const SPREAD_TICKS = 20;

export interface StreamReport {
  readonly wanted: number;
  readonly established: number;
  readonly broken: number;
  /** Why, counted: "ECONNRESET", "closed", "wrong byte", "silent". */
  readonly reasons: Readonly<Record<string, number>>;
  readonly exchanges: number;
  /** Longest wait for one answer, over all connections. */
  readonly stallMsMax: number;
}

interface Stream {
  readonly index: number;
  readonly socket: TrafficSocket;
  isUp: boolean;
  isBroken: boolean;
  round: number;
  /** Bytes of this round's answer that are still missing. */
  missingBytes: number;
  askedAtMs: number;
}

export class Streams {
  readonly #streams: Stream[];
  readonly #reasons: Record<string, number> = {};
  readonly #net: TrafficNet;
  readonly #stop: () => void;
  #exchanges = 0;
  #stallMsMax = 0;
  #tick = 0;
  #isQuiet = false;

  /** Opens one stream from each address; `onUp` is called when all have answered once or failed. */
  constructor(server: string, addresses: readonly string[], onUp: () => void, net: TrafficNet = systemNet) {
    this.#net = net;
    let pending = addresses.length;
    const settled = (): void => {
      if (--pending === 0) onUp();
    };
    this.#streams = addresses.map((localAddress, index) => this.#open(server, localAddress, index, settled));
    this.#stop = net.every(EXCHANGE_INTERVAL_MS / SPREAD_TICKS, () => this.#ask());
  }

  /** Asks nothing more; answers that are under way still count. */
  quiet(): void {
    this.#isQuiet = true;
  }

  report(): StreamReport {
    this.#stop();
    const up = this.#streams.filter(({ isUp }) => isUp);
    for (const stream of up) {
      // What was asked and never answered is a broken connection, however short the drill was.
      if (stream.missingBytes > 0) this.#break(stream, "silent");
    }
    return {
      wanted: this.#streams.length,
      established: up.length,
      broken: up.filter(({ isBroken }) => isBroken).length,
      reasons: this.#reasons,
      exchanges: this.#exchanges,
      stallMsMax: this.#stallMsMax,
    };
  }

  /** Closes every connection. */
  close(): void {
    this.#stop();
    for (const { socket } of this.#streams) socket.destroy();
  }

  /** True when no stream waits for an answer. */
  isIdle(): boolean {
    return this.#streams.every(({ isUp, isBroken, missingBytes }) => !isUp || isBroken || missingBytes === 0);
  }

  #open(host: string, localAddress: string, index: number, settled: () => void): Stream {
    const socket = this.#net.connect({ host, port: STREAM_PORT, localAddress });
    const stream: Stream = {
      index,
      socket,
      isUp: false,
      isBroken: false,
      round: 0,
      missingBytes: 0,
      askedAtMs: 0,
    };
    socket.setNoDelay(true);
    let isSettled = false;
    const settleOnce = (): void => {
      if (!isSettled) settled();
      isSettled = true;
    };
    socket.on("connect", () => {
      stream.isUp = true;
      settleOnce();
    });
    socket.on("data", (bytes: Buffer) => this.#heard(stream, bytes));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (stream.isUp) this.#break(stream, error.code ?? error.message);
      settleOnce();
    });
    socket.on("close", () => {
      if (stream.isUp) this.#break(stream, "closed");
      settleOnce();
    });
    return stream;
  }

  /** Each tick asks on a share of the streams, so that they do not all speak at once. */
  #ask(): void {
    const now = this.#net.nowMs();
    this.#tick++;
    for (let i = this.#tick % SPREAD_TICKS; i < this.#streams.length; i += SPREAD_TICKS) {
      const stream = this.#streams[i]!;
      if (!stream.isUp || stream.isBroken) continue;
      if (stream.missingBytes > 0) {
        if (now - stream.askedAtMs > SILENCE_MAX_MS) this.#break(stream, "silent");
        continue;
      }
      if (this.#isQuiet) continue;
      stream.round++;
      stream.missingBytes = MESSAGE_BYTES;
      stream.askedAtMs = now;
      stream.socket.write(request(stream.index, stream.round, MESSAGE_BYTES));
    }
  }

  #heard(stream: Stream, bytes: Buffer): void {
    if (stream.isBroken) return;
    const at = MESSAGE_BYTES - stream.missingBytes;
    const expected = reply(stream.index, stream.round, MESSAGE_BYTES).subarray(at, at + bytes.length);
    if (bytes.compare(expected) !== 0) {
      this.#break(stream, "wrong byte");
      return;
    }
    stream.missingBytes -= bytes.length;
    if (stream.missingBytes > 0) return;
    this.#exchanges++;
    this.#stallMsMax = Math.max(this.#stallMsMax, this.#net.nowMs() - stream.askedAtMs);
  }

  #break(stream: Stream, reason: string): void {
    if (stream.isBroken) return;
    stream.isBroken = true;
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
    stream.socket.destroy();
  }
}
