/**
 * gRPC transport: the cluster link of real nodes, with mTLS in both directions.
 * Owns putting server, peers and replication links together; see grpc-server.ts, grpc-peer.ts and grpc-link.ts.
 *
 *   A                                            B        two connections for each direction of a pair:
 *   GrpcPeer   --- Exchange, snapshots, asks -->  GrpcServer     Raft and control
 *   GrpcLink   --- Replicate ----------------->  GrpcServer     replication, so that neither waits for the other
 */
import { type ChannelCredentials, logVerbosity, Metadata, setLogVerbosity } from "@grpc/grpc-js";
import type { Message, MsgSnap } from "raft-ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { SenderLink } from "../sync/link.ts";
import type { ReceiverMessage, SenderMessage } from "../sync/messages.ts";
import { PeerCredentials } from "./grpc-credentials.ts";
import { GrpcLink } from "./grpc-link.ts";
import { GrpcPeer } from "./grpc-peer.ts";
import { GrpcServer } from "./grpc-server.ts";
import { controlService, encodeSync, syncService } from "./grpc-services.ts";
import type { RefusalReason } from "./refusals.ts";
import type { TlsMaterial } from "./tls.ts";
import {
  CANNOT_RESTART,
  type PeerReport,
  type Transport,
  type TransportCounters,
  type TransportHandlers,
  type TransportPeer,
  zeroCounters,
} from "./transport.ts";

/** A link that is not open by then closes; whoever wanted it tries again. */
const LINK_OPEN_MS_MAX = 1_000;

export interface GrpcTransportOptions {
  readonly self: TransportPeer;
  /** All other members at first. */
  readonly peers: readonly TransportPeer[];
  readonly port: number;
  readonly tls: TlsMaterial;
  /** Members whose certificates need not name their ids (tls.ts); absent: all. */
  readonly founders?: readonly number[] | undefined;
  /** A peer was turned away or turned us away: one line for the log. */
  readonly onRefused?: (why: string) => void;
}

export class GrpcTransport implements Transport {
  readonly counters: TransportCounters = zeroCounters();
  readonly #options: GrpcTransportOptions;
  readonly #peers = new Map<number, GrpcPeer>();
  readonly #links = new Set<GrpcLink<SenderMessage, ReceiverMessage>>();
  #server: GrpcServer | undefined;
  #handlers: TransportHandlers | undefined;
  #tls: TlsMaterial;
  #isClosed = false;

  constructor(options: GrpcTransportOptions) {
    this.#options = options;
    this.#tls = options.tls;
    // What goes wrong is told through callbacks; grpc-js would write it to stderr as well.
    setLogVerbosity(logVerbosity.NONE);
  }

  async start(handlers: TransportHandlers): Promise<void> {
    const { self, peers, port, founders } = this.#options;
    const onRefused = (why: string): void => this.#options.onRefused?.(why);
    const { counters } = this;
    const guarded = this.#untilClosed(handlers);
    this.#handlers = guarded;
    this.#server = new GrpcServer({
      address: self.address,
      port,
      tls: this.#tls,
      peers,
      founders,
      counters,
      handlers: guarded,
      onRefused,
      onSeen: (peer) => this.#peers.get(peer)?.nudge(),
    });
    await this.#server.listen();
    for (const peer of peers) this.#connect(peer, guarded);
  }

  setPeers(peers: readonly TransportPeer[]): void {
    if (this.#handlers === undefined || this.#isClosed) return;
    this.#server?.setPeers(peers);
    for (const [id, { peer: known }] of this.#peers) {
      const peer = peers.find((other) => other.id === id);
      if (peer?.name === known.name && peer.address === known.address) continue;
      this.#peers.get(id)?.close();
      this.#peers.delete(id);
    }
    for (const peer of peers) if (!this.#peers.has(peer.id)) this.#connect(peer, this.#handlers);
  }

  /** Another certificate, or another CA: whoever connects from now on meets it; connections that stand stay. */
  setTls(tls: TlsMaterial): void {
    this.#tls = tls;
    this.#server?.setTls(tls);
    for (const connection of this.#peers.values()) {
      connection.setCredentials(this.#credentialsFor(connection.peer));
    }
  }

  #connect(peer: TransportPeer, handlers: TransportHandlers): void {
    const connection = new GrpcPeer({
      peer,
      port: this.#options.port,
      credentials: this.#credentialsFor(peer),
      counters: this.counters,
      events: {
        onUnreachable: () => handlers.onUnreachable(peer.id),
        onTurnedAway: () => handlers.onTurnedAway?.(peer.id),
        onSnapshotSent: (isDelivered) => handlers.onSnapshotSent(peer.id, isDelivered),
        onLog: (why) => this.#options.onRefused?.(why),
      },
    });
    this.#peers.set(peer.id, connection);
    connection.connect();
  }

  #credentialsFor(peer: TransportPeer): ChannelCredentials {
    const onRefused = (reason: RefusalReason, why: string): void => {
      if (this.#isClosed) return;
      this.counters.refused[reason]++;
      this.#options.onRefused?.(`refused who answers as ${peer.name} at ${peer.address}: ${why}`);
    };
    return new PeerCredentials(peer, this.#tls, onRefused, this.#options.founders);
  }

  sendRaft(message: Exclude<Message, MsgSnap>): void {
    const peer = this.#peers.get(message.to);
    if (peer === undefined) this.counters.raftDropped++;
    else peer.send(message);
  }

  sendSnapshot(message: MsgSnap): void {
    const peer = this.#peers.get(message.to);
    if (peer !== undefined) peer.sendSnapshot(message);
    else setImmediate(() => this.#handlers?.onSnapshotSent(message.to, false));
  }

  async status(to: number, timeoutMs: number): Promise<PeerReport> {
    const options = { timeoutMs, what: "ask for the status" };
    return this.#peer(to, options.what).ask(controlService.status, {}, options);
  }

  async restart(to: number, incarnation: number, timeoutMs: number): Promise<string> {
    const options = { timeoutMs, what: "ask for a restart" };
    const peer = this.#peer(to, options.what);
    return (await peer.ask(controlService.restart, { incarnation }, options)).refusal;
  }

  openSyncLink(to: number): SenderLink {
    const peer = this.#peers.get(to);
    const link = new GrpcLink<SenderMessage, ReceiverMessage>(encodeSync.fromSender, (error) =>
      peer?.onMalformed(error),
    );
    if (peer === undefined || this.#isClosed) {
      setImmediate(() => link.lose("there is no such peer"));
      return link;
    }
    this.#links.add(link);
    const client = peer.newClient();
    const { path, requestSerialize, responseDeserialize } = syncService.replicate;
    const call = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      new Metadata(),
      {},
    );
    const end = (why: string): void => {
      clearTimeout(timer);
      this.#links.delete(link);
      link.lose(why);
      client.close();
    };
    const timer = setTimeout(() => {
      call.cancel();
      end("the peer did not answer in time");
    }, LINK_OPEN_MS_MAX);
    call.once("metadata", () => {
      clearTimeout(timer);
      link.open({
        duplex: call,
        abort: () => call.cancel(),
        onGone: (gone) => {
          call.once("status", (status) => gone(status.details || "the peer closed the link"));
        },
      });
    });
    call.on("error", () => {});
    call.once("status", (status) => end(status.details || "the peer closed the link"));
    call.once("end", () => call.end());
    return link;
  }

  isConnected(to: number): boolean {
    return this.#peers.get(to)?.isConnected === true;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const link of this.#links) link.lose("this node is stopping");
    for (const peer of this.#peers.values()) peer.close();
    this.#server?.close();
  }

  #peer(to: number, what: string): GrpcPeer {
    const peer = this.#peers.get(to);
    if (peer !== undefined) return peer;
    throw new SynwallError("SW_CONTROL_TIMEOUT", `Cannot ${what} at node ${to}: it is no other member`);
  }

  /** What still comes in while the transport closes is not told. */
  #untilClosed(handlers: TransportHandlers): TransportHandlers {
    const unless = <A extends unknown[]>(call: (...args: A) => void) => {
      return (...args: A): void => {
        if (!this.#isClosed) call(...args);
      };
    };
    return {
      onRaft: unless((from, message) => handlers.onRaft(from, message)),
      onStatus: (from) => handlers.onStatus(from),
      onRestart: (from, incarnation) => handlers.onRestart?.(from, incarnation) ?? CANNOT_RESTART,
      onSyncLink: unless((from, link) => handlers.onSyncLink(from, link)),
      onUnreachable: unless((to) => handlers.onUnreachable(to)),
      onTurnedAway: unless((by) => handlers.onTurnedAway?.(by)),
      onSnapshotSent: unless((to, isDelivered) => handlers.onSnapshotSent(to, isDelivered)),
    };
  }
}
