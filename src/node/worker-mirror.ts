/**
 * Worker mirror: what the dataplane worker said last about peers and carriers, for everybody on the control thread who asks.
 */
import { CLUSTER_LINK, type LinkHearing, type LivenessEvent } from "../../cluster/liveness/model.ts";
import type { FromWorker, PathState, WorkerPeer, WorkerSetup } from "./worker-protocol.ts";

export class WorkerMirror {
  readonly #setup: WorkerSetup;
  readonly #links = new Map<number, Set<number>>();
  readonly #carriers: boolean[];
  /** By port: MTUs that changed since the start. */
  readonly #mtus = new Map<number, number>();
  readonly #paths = new Map<number, PathState>();
  readonly #late = new Set<number>();
  #hearing: readonly LinkHearing[] = [];
  #asked: readonly number[] = [];
  #peers: readonly WorkerPeer[];

  constructor(setup: WorkerSetup) {
    this.#setup = setup;
    this.#peers = setup.peers;
    this.#carriers = setup.ports.map(() => true);
  }

  note(message: Exclude<FromWorker, 0>): void {
    if (message.type === "liveness") this.#onLiveness(message.event);
    if (message.type === "carrier") this.#carriers[message.port] = message.isUp;
    if (message.type === "hearing") [this.#hearing, this.#asked] = [message.hearing, message.asked];
    if (message.type === "mtu") this.#mtus.set(message.port, message.mtuBytes);
    if (message.type === "path") this.#paths.set(message.node, message.path);
  }

  /** Members heard on at least one link, this one included. */
  alive(): ReadonlySet<number> {
    const alive = new Set<number>([this.#setup.selfId]);
    for (const [node, links] of this.#links) if (links.size > 0) alive.add(node);
    return alive;
  }

  /** Link name -> heard, for one peer. */
  links(node: number): Record<string, boolean> {
    const peer = this.#peers.find((candidate) => candidate.nodeId === node);
    const names = (peer?.links ?? []).map(
      (link) => [this.#linkName(link), this.isLinkUp(node, link)] as const,
    );
    return Object.fromEntries(names);
  }

  /** Other peers than before; of those that are not among them nothing is heard any more. */
  setPeers(peers: readonly WorkerPeer[]): void {
    this.#peers = peers;
    for (const node of [...this.#links.keys()]) {
      if (!peers.some(({ nodeId }) => nodeId === node)) this.#links.delete(node);
    }
  }

  carrier(port: number): boolean {
    return this.#carriers[port] === true;
  }

  /** What is heard on the zones' wires. */
  hearing(): readonly LinkHearing[] {
    return this.#hearing;
  }

  /** Hosts of a zone's wire were asked whether they are there, and none answered. */
  hasAsked(link: number): boolean {
    return this.#asked.includes(link);
  }

  /** A node and this one hear each other on a link. */
  isLinkUp(node: number, link: number): boolean {
    return this.#links.get(node)?.has(link) === true;
  }

  /** The port's MTU now; undefined: as at the start. */
  mtuBytes(port: number): number | undefined {
    return this.#mtus.get(port);
  }

  /** Redirected frames of the largest size do not come through from this node. */
  isNarrow(node: number): boolean {
    return this.#paths.get(node) === "narrow";
  }

  /** This node hears on the zones that what it sends on the cluster link is late or lost. */
  isLate(node: number): boolean {
    return this.#late.has(node);
  }

  #linkName(link: number): string {
    if (link === CLUSTER_LINK) return "cluster";
    const port = this.#setup.ports[link - 1];
    return port?.label ?? port?.interfaceName ?? `link ${link}`;
  }

  #onLiveness(event: LivenessEvent): void {
    if (event.type === "linkUp") {
      const links = this.#links.get(event.node) ?? new Set<number>();
      links.add(event.link);
      this.#links.set(event.node, links);
    } else if (event.type === "linkDown") {
      this.#links.get(event.node)?.delete(event.link);
    } else if (event.type === "linkPace") {
      if (event.isLate) this.#late.add(event.node);
      else this.#late.delete(event.node);
    } else if (event.type === "peerDown") {
      this.#links.get(event.node)?.clear();
      this.#late.delete(event.node);
    }
  }
}
