/**
 * Traffic of a simulated drill: what chaos/traffic/traffic.ts starts as processes, on simulated hosts and in virtual time. Load,
 * probes and accounts are the same code; besides, somebody outside tries what the policy denies.
 */
import { SynwallError } from "../../../src/base/errors.ts";
import { clientAddresses, NAT_POOL, SERVER_ADDRESS } from "../../lab/topology.ts";
import { BulkSource, CHUNK_INTERVAL_MS, DownloadLog } from "../../traffic/download-log.ts";
import { turn } from "../../traffic/pattern.ts";
import type { PingReport } from "../../traffic/ping.ts";
import { BULK_PORT, PROBE_PORT, STREAM_PORT, VISIT_PORTS } from "../../traffic/ports.ts";
import { PROBE_INTERVAL_MS, ProbeEnd } from "../../traffic/probe-end.ts";
import { Streams } from "../../traffic/streams.ts";
import type { TrafficPlan, TrafficReport } from "../../traffic/traffic.ts";
import { Visits } from "../../traffic/visits.ts";
import type { SimClock } from "./clock.ts";
import type { SimHosts } from "./hosts.ts";
import type { TcpSocket } from "./tcp.ts";

const READY_TIMEOUT_MS = 20_000;
const PING_INTERVAL_MS = 50;
const DENIED_INTERVAL_MS = 20;
/** After the last probe was sent: long enough for it to arrive. */
const QUIET_MS = 500;
/** As long as the longest time-out of a visit. */
const GRACE_MS = 8_500;
const POLL_MS = 20;
/** More than this that was sent and not acknowledged: the download is not fed. */
const UNACKNOWLEDGED_BYTES_MAX = 262_144;
const PROBE_CLIENT_PORT = 40_000;

export interface SimLoad {
  readonly connections: number;
  readonly visitsPerSecond: number;
  /** A chunk of the download is fed this often. */
  readonly feedIntervalMs: number;
}

/** As in a lab. */
export const FULL_LOAD: SimLoad = {
  connections: 200,
  visitsPerSecond: 500,
  feedIntervalMs: CHUNK_INTERVAL_MS,
};

export class SimTraffic {
  readonly #clock: SimClock;
  readonly #hosts: SimHosts;
  readonly #random: (bound: number) => number;
  readonly #load: SimLoad;
  readonly #stops: (() => void)[] = [];
  readonly #source = new BulkSource();
  readonly #download: DownloadLog;
  readonly #probes: { readonly client: ProbeEnd; readonly server: ProbeEnd };
  readonly #pings = new Map<number, { sentAtMs: number; answers: number; rttMs: number }>();
  readonly #feeds = new Set<{ readonly socket: TcpSocket; position: number }>();
  #streams!: Streams;
  #visits: Visits | undefined;
  #resets = 0;
  #isQuiet = false;

  constructor(clock: SimClock, hosts: SimHosts, random: (bound: number) => number, load: SimLoad) {
    this.#clock = clock;
    this.#hosts = hosts;
    this.#random = random;
    this.#load = load;
    const now = (): number => clock.nowMs();
    this.#download = new DownloadLog(now);
    this.#probes = { client: new ProbeEnd("client", now), server: new ProbeEnd("server", now) };
  }

  /** Resolves when every stream stands. Throws SW_DRILL_FAILED. */
  async begin(plan: Omit<TrafficPlan, "lab">): Promise<void> {
    this.#serve();
    this.#startProbes(plan.probeAddresses);
    await this.#startLoad(plan.downloadAddress);
    this.#startPings();
    this.#startDenied();
  }

  /** Lets the traffic come to its end and answers what it saw. */
  async end(): Promise<TrafficReport> {
    const quietAtMs = this.#clock.nowMs();
    this.#isQuiet = true;
    this.#probes.client.quiet();
    this.#probes.server.quiet();
    this.#streams.quiet();
    this.#visits?.quiet();
    for (const { socket } of this.#feeds) socket.end();
    await this.#clock.pause(QUIET_MS);
    const isIdle = (): boolean =>
      this.#streams.isIdle() && this.#visits?.isIdle() === true && this.#download.isOver;
    for (let leftMs = GRACE_MS; leftMs > 0 && !isIdle(); leftMs -= POLL_MS) await this.#clock.pause(POLL_MS);
    const report: TrafficReport = {
      probes: { client: this.#probes.client.report(), server: this.#probes.server.report() },
      // A copy: what is closed below must not show in it.
      load: structuredClone({
        streams: this.#streams.report(),
        visits: this.#visits!.report(),
        download: this.#download.report(),
      }),
      served: { ...this.#source.report(), resets: this.#resets },
      ping: this.#pingReport(),
      quietAtMs,
      isRealtime: false,
    };
    this.kill();
    return report;
  }

  /** Ends everything at once. */
  kill(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#streams?.close();
    this.#visits?.quiet();
  }

  #serve(): void {
    const { server } = this.#hosts;
    for (const port of [STREAM_PORT, ...VISIT_PORTS]) {
      server.listen(port, (socket) => {
        socket.on("data", (bytes) => socket.write(turn(bytes)));
        socket.on("error", () => void this.#resets++);
      });
    }
    server.listen(BULK_PORT, (socket) => {
      const feed = { socket, position: 0 };
      this.#feeds.add(feed);
      socket.on("close", () => void this.#feeds.delete(feed));
    });
    this.#every(this.#load.feedIntervalMs, () => this.#feed());
  }

  #feed(): void {
    if (this.#isQuiet) return;
    for (const feed of this.#feeds) {
      // A stalled download is not fed: what matters is that it goes on, not that it catches up.
      if (feed.socket.waitingBytes > UNACKNOWLEDGED_BYTES_MAX) continue;
      const chunk = this.#source.chunk(feed.position);
      feed.position += chunk.length;
      feed.socket.write(chunk);
    }
  }

  #startProbes(addresses: readonly string[]): void {
    const { client, server } = this.#hosts;
    const serverEnd = { address: SERVER_ADDRESS, port: PROBE_PORT };
    const answer = (bytes: Buffer, to: { address: string; port: number }): void =>
      server.sendDatagram(serverEnd, to, bytes);
    server.bind(SERVER_ADDRESS, PROBE_PORT, (bytes, from) => this.#probes.server.hear(bytes, from, answer));
    addresses.forEach((address, flow) => {
      const own = { address, port: PROBE_CLIENT_PORT + flow };
      client.bind(address, own.port, (bytes, from) => this.#probes.client.hear(bytes, from));
      this.#probes.client.add(flow, serverEnd, (bytes, to) => client.sendDatagram(own, to, bytes));
    });
    for (const end of [this.#probes.client, this.#probes.server]) {
      this.#every(PROBE_INTERVAL_MS, () => {
        end.sendAll();
        end.readAll(); // Nothing waits for a host in simulation.
      });
    }
  }

  async #startLoad(downloadAddress: string): Promise<void> {
    const { client } = this.#hosts;
    const { connections, visitsPerSecond } = this.#load;
    const addresses = clientAddresses().slice(0, connections);
    let isUp = false;
    this.#streams = new Streams(SERVER_ADDRESS, addresses, () => (isUp = true), client);
    for (let leftMs = READY_TIMEOUT_MS; !isUp; leftMs -= POLL_MS) {
      if (leftMs <= 0) throw new SynwallError("SW_DRILL_FAILED", "traffic (client load): not ready in time");
      await this.#clock.pause(POLL_MS);
    }
    this.#visits = new Visits(SERVER_ADDRESS, clientAddresses(), visitsPerSecond, client);
    const socket = client.connect({ host: SERVER_ADDRESS, port: BULK_PORT, localAddress: downloadAddress });
    this.#download.begin();
    socket.on("data", (bytes) => this.#download.heard(bytes));
    socket.on("error", (error) => this.#download.fail(error));
    socket.on("close", () => this.#download.complete());
  }

  #startPings(): void {
    const { client } = this.#hosts;
    const id = this.#random(0xffff);
    let sequence = 0;
    client.onEchoReply = (heardId, heardSequence) => {
      const ping = heardId === id ? this.#pings.get(heardSequence) : undefined;
      if (ping === undefined) return;
      ping.answers++;
      if (ping.answers === 1) ping.rttMs = this.#clock.nowMs() - ping.sentAtMs;
    };
    this.#every(PING_INTERVAL_MS, () => {
      if (this.#isQuiet) return;
      this.#pings.set(++sequence, { sentAtMs: this.#clock.nowMs(), answers: 0, rttMs: 0 });
      client.sendEcho(clientAddresses()[0]!, SERVER_ADDRESS, id, sequence);
    });
  }

  /** Scans from outside: hosts inside, and the translated addresses. None of it may arrive. */
  #startDenied(): void {
    const { server } = this.#hosts;
    const inside = clientAddresses();
    this.#every(DENIED_INTERVAL_MS, () => {
      const fromPort = 1024 + this.#random(30_000);
      const port = 1 + this.#random(0xffff);
      server.sendSyn(SERVER_ADDRESS, { address: inside[this.#random(inside.length)]!, port }, fromPort);
      const pool = NAT_POOL[this.#random(NAT_POOL.length)]!;
      // 8080 of the first pool address is let in, to the web server.
      if (port !== 8080) server.sendSyn(SERVER_ADDRESS, { address: pool, port }, fromPort);
      server.sendDatagram(
        { address: SERVER_ADDRESS, port: fromPort },
        { address: pool, port },
        Buffer.from("denied"),
      );
    });
  }

  #pingReport(): PingReport {
    const all = [...this.#pings.values()];
    return {
      sent: all.length,
      received: all.filter(({ answers }) => answers > 0).length,
      duplicated: all.reduce((sum, { answers }) => sum + Math.max(0, answers - 1), 0),
      rttMsMax: Math.max(0, ...all.map(({ rttMs }) => rttMs)),
    };
  }

  /** Each of these clocks starts at a moment of its own. */
  #every(ms: number, callback: () => void): void {
    let isOn = true;
    const turn = (): void => {
      if (!isOn) return;
      callback();
      this.#clock.wire(ms, turn);
    };
    this.#clock.wire((ms * this.#random(1024)) / 1024, turn);
    this.#stops.push(() => {
      isOn = false;
    });
  }
}
