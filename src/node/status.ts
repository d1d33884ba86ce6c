/**
 * Status: turns what a node knows into the report that operators and drills read, and into alerts that say what happened, what
 * it means and what to do. Pure: facts in, report out.
 */
import { isCarrier } from "../../cluster/control/commands.ts";
import { formerOf } from "../../cluster/control/former.ts";
import { termInside } from "../../cluster/control/generation.ts";
import { type ClusterState, type Member, STORE_VOTER } from "../../cluster/control/model.ts";
import { votersWithStore } from "../../cluster/control/quorum.ts";
import type { StoreStatus } from "../../cluster/control/store-status.ts";
import type { KvCounters } from "../../cluster/transport/etcd-kv.ts";
import type { StoreSnapshot } from "../metrics/snapshot.ts";
import type { PeerStatus, StatusReport } from "./admin-model.ts";

/** Lag beyond which `status` warns; the alert rules in config/ use the same. */
const LAG_ALERT_MS = 1000;

export interface StatusFacts {
  readonly cluster: string;
  readonly self: { readonly id: number; readonly name: string; readonly role: "node" | "witness" };
  readonly version: string;
  readonly uptimeMs: number;
  readonly state: ClusterState;
  readonly raft: {
    readonly term: number;
    readonly commit: number;
    readonly state: string;
    readonly lead: number;
    readonly store?: StoreStatus;
  };
  /** Ids of the voters, dead or alive. */
  readonly voters: readonly number[];
  readonly peers: readonly PeerStatus[];
  /** Slots of the table that this node, as owner, has not activated yet. */
  readonly unsettledOwn: number;
  readonly lease?: { readonly validForMs: number; readonly isFenced: boolean };
  readonly dataplane?: NonNullable<StatusReport["dataplane"]>;
  /** Where `quorum: pair` is set. */
  readonly pair?: NonNullable<StatusReport["pair"]>;
  /** What is wrong with disk, clocks or threads, ready to be read. */
  readonly machineAlerts?: readonly string[];
}

export function buildStatus(facts: StatusFacts): StatusReport {
  const { state, self } = facts;
  const { table } = state;
  const nameOf = (id: number): string => state.members.find((member) => member.id === id)?.name ?? "";
  const isReady =
    self.role === "witness" ? facts.raft.lead !== 0 : isNodeReady(state, self.id) && facts.unsettledOwn === 0;
  return {
    cluster: facts.cluster,
    node: self.name,
    id: self.id,
    role: self.role,
    version: facts.version,
    uptimeMs: facts.uptimeMs,
    epoch: table.epoch,
    leader: nameOf(facts.raft.lead),
    raft: { term: termInside(facts.raft.term), commit: facts.raft.commit, state: facts.raft.state },
    ...(facts.raft.store === undefined ? {} : { store: facts.raft.store }),
    members: state.members.map((member) => ({
      id: member.id,
      name: member.name,
      role: member.role,
      state: member.state,
      incarnation: member.incarnation,
      slotsOwned: count(table.owner, member.id),
      slotsBackedUp: count(table.backup, member.id),
    })),
    peers: facts.peers,
    slots: { owner: table.owner, backup: table.backup, synced: table.synced },
    isSettled: isSettled(state),
    isReady,
    ...(facts.lease === undefined ? {} : { lease: facts.lease }),
    isUnwitnessed: isUnwitnessed(facts),
    ...(facts.pair === undefined ? {} : { pair: facts.pair }),
    ...(state.forced === undefined ? {} : { forced: state.forced }),
    ...(facts.dataplane === undefined ? {} : { dataplane: facts.dataplane }),
    alerts: alerts(facts),
  };
}

/** Every slot has an owner that nobody is awaited for, a proven backup where two nodes are up, and slots are balanced. */
export function isSettled(state: ClusterState): boolean {
  const { table, members } = state;
  const nodes = members.filter((member) => member.role === "node");
  const carrying = nodes.filter((member) => member.state === "active");
  if (
    carrying.length === 0 ||
    nodes.some((member) => member.state === "joining" || member.state === "draining")
  )
    return false;
  for (let slot = 0; slot < table.owner.length; slot++) {
    if (table.owner[slot] === 0 || table.awaiting[slot]!.length > 0) return false;
    if (formerOf(table, slot) !== 0) return false;
    if (carrying.length > 1 && (table.backup[slot] === 0 || !table.synced[slot])) return false;
  }
  return isBalanced(table.owner, carrying);
}

/** Slots of which nobody but the owner has a proven copy, where two nodes are there to have one. */
export function slotsUnsynced({ members, table }: ClusterState): number {
  if (members.filter(isCarrier).length < 2) return 0;
  return table.synced.filter((isSynced, slot) => !isSynced && formerOf(table, slot) === 0).length;
}

/** Within one slot of each member's share by weight. */
function isBalanced(owner: readonly number[], carrying: readonly Member[]): boolean {
  const weights = carrying.reduce((sum, member) => sum + member.weight, 0);
  return carrying.every(
    (member) => Math.abs(count(owner, member.id) - (owner.length * member.weight) / weights) <= 1,
  );
}

/** This node holds every slot that the table gives it, as owner or as proven backup. */
function isNodeReady(state: ClusterState, id: number): boolean {
  const { table, members } = state;
  const member = members.find((candidate) => candidate.id === id);
  if (member === undefined || member.state === "joining" || member.state === "down") return false;
  return table.backup.every((backup, slot) => backup !== id || table.synced[slot] === true);
}

/** One more dead voter, and no majority is left to decide. */
function isUnwitnessed({ voters: members, self, peers, raft }: StatusFacts): boolean {
  const voters = raft.store === undefined ? members : votersWithStore(members);
  const isAlive = (id: number): boolean =>
    id === self.id ||
    (id === STORE_VOTER && raft.store?.isConnected === true) ||
    peers.some((peer) => peer.id === id && peer.alive);
  return voters.filter(isAlive).length - 1 < Math.floor(voters.length / 2) + 1;
}

/** What metrics tell of the store; nothing where the members keep the log. */
export function storeSnapshot(
  status: StoreStatus | undefined,
  counters: KvCounters | undefined,
): { readonly store?: StoreSnapshot } {
  if (status === undefined || counters === undefined) return {};
  const { isConnected, refusal } = status;
  return { store: { isConnected, isRefused: refusal !== "", ...counters } };
}

function unwitnessedText({ pair }: StatusFacts): string {
  if (pair === undefined) {
    return "unwitnessed: one more failure leaves no majority, and no takeover could be decided; bring the missing members back";
  }
  if (pair.isAlone) {
    return "unwitnessed: this node went on alone (quorum: pair); if the other one still serves behind cut links, both do; repair it or the links, it then takes over this node's log by itself";
  }
  if (pair.isWaiting) {
    return "unwitnessed: this node was alone when it ended and has not met the other one yet: it waits for quorum.forgiveAfter before it goes on";
  }
  if (pair.isHeld) {
    return pair.why === "answers"
      ? "unwitnessed: the other node is silent, but its machine answers ARP: it may still serve, so this node does not go on alone; restart it or power it off"
      : "unwitnessed: the other node is silent, and nobody else is heard in any zone: this node may be the one that is cut off; check its cables and switch ports";
  }
  return "unwitnessed: a pair without a witness (quorum: pair) cannot tell a dead peer from cut links; if all links between the nodes are cut, both serve; add a witness";
}

function alerts(facts: StatusFacts): string[] {
  const lines: string[] = [];
  const { state, self } = facts;
  const { store } = facts.raft;
  if (store !== undefined && store.refusal !== "") {
    lines.push(
      `the store at ${store.place} is not the one that this member knows (${store.refusal}): the cluster decides nothing; established flows go on; bring back the store that was, or see SW_STORE_LOST in docs/errors.md`,
    );
  } else if (store !== undefined && !store.isConnected) {
    lines.push(
      `the store at ${store.place} does not answer: the cluster decides nothing, and no takeover; nodes go on with what they own; check etcd and the network to it`,
    );
  } else if (facts.raft.lead === 0) {
    lines.push(
      "no leader: the cluster decides nothing; established flows go on; check the cluster link and the other members",
    );
  }
  for (const member of state.members) {
    if (member.state === "down")
      lines.push(`${member.name} is down: its slots were taken over; repair it and start it again`);
    if (member.state === "drained")
      lines.push(`${member.name} is drained: maintenance may go on; 'synwall rejoin ${member.name}' ends it`);
  }
  for (const port of facts.dataplane?.ports ?? []) {
    if (port.carrier && !port.silent) continue;
    const meaning =
      port.zone === "cluster"
        ? "no replication and no redirects over it"
        : "this node gives up its slots while another one has all links";
    lines.push(
      port.silent
        ? `nothing comes through on ${port.name} (${port.zone}), though it has a carrier: ${meaning}; check VLAN, optic and port security`
        : `${port.name} (${port.zone}) has no carrier: ${meaning}; check cable and switch port`,
    );
  }
  const needed = facts.dataplane?.clusterMtuNeeded ?? 0;
  for (const { name, zone, mtuBytes } of facts.dataplane?.ports ?? []) {
    if (zone !== "cluster" || mtuBytes === undefined || mtuBytes >= needed) continue;
    lines.push(
      `${name} (cluster) has MTU ${mtuBytes}, redirected frames need ${needed}: larger ones are dropped as too_big; ip link set ${name} mtu ${needed}`,
    );
  }
  if (facts.lease?.isFenced && count(state.table.owner, self.id) > 0) {
    lines.push(
      "fenced: no majority answers this node, so it decides no new flow; established flows go on; check its links",
    );
  }
  for (const peer of facts.peers) {
    const silent = Object.entries(peer.links)
      .filter(([, isUp]) => !isUp)
      .map(([name]) => name);
    if (peer.alive && silent.length > 0) {
      lines.push(
        `link ${silent.join(", ")} to ${peer.name} is silent: nobody took over; new flows may be unprotected; check cable and switch`,
      );
    }
    if (peer.alive && peer.isPathNarrow === true) {
      lines.push(
        `the cluster link does not carry frames of its full MTU from ${peer.name}: redirected packets go over the zones, and are lost where that cannot be; raise the MTU of the switch between, and of ${peer.name}'s interface`,
      );
    }
    if (peer.alive && peer.isLate === true && peer.links["cluster"] === true) {
      lines.push(
        `the cluster link to ${peer.name} is slow or lossy: redirected packets go over the zones, new flows may be unprotected; look for what fills it`,
      );
    }
    if (!peer.alive && state.members.find((member) => member.id === peer.id)?.state !== "down") {
      lines.push(`${peer.name} is silent on all links`);
    }
    if (peer.alive && peer.sync?.policy === "different") {
      lines.push(
        `the policy of ${peer.name} differs from this node's: they may disagree who answers for an address and what a flow's rule is; make zones, nat and rules equal, and the order of interfaces where rules name some, and run 'synwall policy apply' on the one that is wrong (zones and interfaces: restart it, drained first)`,
      );
    }
    if (peer.sync?.refusal !== undefined && peer.alive) {
      lines.push(
        `sync to ${peer.name} is refused: ${peer.sync.refusal}; new flows are unprotected; run the same version on both nodes, or see the logs`,
      );
    }
    if (peer.sync !== undefined && peer.alive && peer.sync.lagMs > LAG_ALERT_MS) {
      lines.push(
        `sync to ${peer.name} lags ${Math.round(peer.sync.lagMs)} ms (${peer.sync.lagRecords} changes): a failure now would lose them`,
      );
    }
  }
  if (isUnwitnessed(facts)) lines.push(unwitnessedText(facts));
  lines.push(...(facts.machineAlerts ?? []));
  return lines;
}

function count(values: readonly number[], id: number): number {
  let total = 0;
  for (const value of values) if (value === id) total++;
  return total;
}
