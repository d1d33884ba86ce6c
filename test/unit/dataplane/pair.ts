/**
 * Two engines joined by a cluster link and by their records, for tests of ownership. Nothing moves by itself: carry()
 * brings redirected frames over, replicate() the records, acknowledge() what was applied.
 */
import { RECORD_BYTES } from "../../../src/base/record.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_ON_CLUSTER_LINK,
  type PeerAddress,
  type SLOT_HANDOVER,
  SLOT_OWNED,
  SLOT_REMOTE,
  type SLOT_TAKEOVER,
  standaloneView,
} from "../../../src/dataplane/cluster-view.ts";
import type { EngineLimits } from "../../../src/dataplane/engine-options.ts";
import type { PolicyModel } from "../../../src/dataplane/policy-model.ts";
import type { RedirectSeal } from "../../../src/dataplane/redirect-seal.ts";
import { ip, mac } from "./frames.ts";
import { LAB_POLICY, PORT_CLUSTER, type Sent, World, type WorldOptions } from "./world.ts";

export const SLOTS = 64;

function viewOf(selfId: number): ClusterView {
  const peers: (PeerAddress | undefined)[] = [];
  for (const nodeId of [1, 2]) {
    if (nodeId === selfId) continue;
    peers[nodeId] = {
      nodeId,
      clusterIp: ip(`172.16.0.${nodeId}`),
      clusterMac: mac(`02:00:00:00:0${nodeId}:02`),
      zoneMac: [mac(`02:00:00:00:0${nodeId}:00`), mac(`02:00:00:00:0${nodeId}:01`), new Uint8Array(6)],
    };
  }
  const view = standaloneView(SLOTS, selfId);
  for (let slot = 0; slot < SLOTS; slot++) view.home[slot] = slot % 2 === 0 ? 1 : 2;
  view.peerFlags[3 - selfId] = PEER_ALIVE | PEER_ON_CLUSTER_LINK;
  return { ...view, clusterIp: ip(`172.16.0.${selfId}`), peers };
}

/** What each node seals redirects with; absent: in clear. */
export interface Seals {
  readonly one?: RedirectSeal;
  readonly two?: RedirectSeal;
}

export class Pair {
  readonly one: World;
  readonly two: World;

  /** `two`: what the second node has otherwise than the first. */
  constructor(
    policy: PolicyModel = LAB_POLICY,
    limits: Partial<EngineLimits> = {},
    ringRecords = 4096,
    seals: Seals = {},
    two: Partial<WorldOptions> = {},
  ) {
    const common = { policy, ringRecords, limits };
    this.one = new World({ ...common, view: viewOf(1), seed: 11, ...(seals.one && { seal: seals.one }) });
    this.two = new World({
      ...common,
      view: viewOf(2),
      seed: 22,
      ...(seals.two && { seal: seals.two }),
      ...two,
    });
    this.assign(1, (slot) => (slot % 2 === 0 ? 1 : 2));
  }

  get worlds(): readonly [World, World] {
    return [this.one, this.two];
  }

  /** A settled table: owners by slot; the other node is the backup. */
  assign(epoch: number, owner: (slot: number) => number): void {
    for (const world of this.worlds) {
      const { view } = world;
      view.epoch = epoch;
      for (let slot = 0; slot < SLOTS; slot++) {
        const next = owner(slot);
        const was = view.state[slot] === SLOT_OWNED && view.owner[slot] === view.selfId;
        view.owner[slot] = next;
        view.backup[slot] = 3 - next;
        view.state[slot] = next === view.selfId ? SLOT_OWNED : SLOT_REMOTE;
        if (next === view.selfId && !was) view.gainedEpoch[slot] = epoch;
      }
      world.engine.slotsChanged(world.nowMs);
      world.answerArp();
    }
  }

  /** Sets the state of all slots that `world` does not own. */
  setForeign(world: World, state: typeof SLOT_HANDOVER | typeof SLOT_TAKEOVER | typeof SLOT_OWNED): void {
    const { view } = world;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (view.owner[slot] !== view.selfId) view.state[slot] = state;
    }
  }

  other(world: World): World {
    return world === this.one ? this.two : this.one;
  }

  /** Brings frames that left by the cluster port to the other node; returns how many. */
  carry(from: World): number {
    let carried = 0;
    const kept: Sent[] = [];
    for (const sent of from.take()) {
      if (sent.port === PORT_CLUSTER) {
        this.other(from).receive(PORT_CLUSTER, sent.frame);
        carried++;
      } else {
        kept.push(sent);
      }
    }
    from.sent.push(...kept);
    return carried;
  }

  /** Applies up to `max` records of a node at the other; returns the statuses. */
  replicate(from: World, max = Number.POSITIVE_INFINITY): number[] {
    const ring = from.ring!;
    const to = this.other(from);
    const count = Math.min(max, ring.length());
    const statuses: number[] = [];
    for (let i = 0; i < count; i++) {
      const at = ring.at(i);
      const record = ring.bytes.slice(at, at + RECORD_BYTES);
      statuses.push(to.engine.applyReplica(record, 0, to.nowMs));
    }
    ring.release(count);
    this.#applied[from === this.one ? 0 : 1]! += count;
    return statuses;
  }

  readonly #applied = [0, 0];

  /** Tells a node what the other has applied. */
  acknowledge(to: World): void {
    const peer = this.other(to).view.selfId;
    to.view.ackedSequence[peer] = this.#applied[to === this.one ? 0 : 1]!;
    to.engine.acknowledged(to.nowMs);
    to.answerArp();
  }

  /** Everything moves until nothing does. */
  settle(): void {
    for (let round = 0; round < 4; round++) {
      for (const world of this.worlds) {
        this.carry(world);
        this.replicate(world);
        this.acknowledge(world);
      }
    }
  }

  tick(ms = 1): void {
    for (const world of this.worlds) world.tick(ms);
  }
}
