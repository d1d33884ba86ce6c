/**
 * Member commands: how the operator changes who belongs to the cluster and what of it. Pure and total, as machine.ts, which
 * owns the lives of members (up, down).
 *
 *   token --join--> member (down, life 0) --up--> ...         disabled: up leads to drained instead of joining
 *   drained | down --setState removed--> removed, for good: its id is never given again
 */
import { isCarrier } from "./commands.ts";
import { formerOf, holds, withoutFormers } from "./former.ts";
import {
  type ClusterState,
  type Command,
  type JoinToken,
  MEMBER_ID_MAX,
  type Member,
  type MemberState,
  NODES_MAX,
  TOKENS_MAX,
} from "./model.ts";
import { changed, find, type Outcome, refused, unchanged, withMember } from "./outcome.ts";
import { isDispensable } from "./quorum.ts";

type Settable = Extract<Command, { type: "setState" }>["state"];

/** From which states each state can be reached by command; `up` and `down` are the other ways. */
const COMES_FROM: Readonly<Record<Settable, readonly MemberState[]>> = {
  active: ["joining", "draining"],
  draining: ["joining", "active"],
  drained: ["draining"],
  joining: ["drained"],
  removed: ["down", "drained"],
};

export function setState(cluster: ClusterState, node: number, state: Settable): Outcome {
  const member = find(cluster, node);
  if (member === undefined) return refused(cluster, `member ${node} is not known`);
  if (member.state === state) return unchanged(cluster);
  if (member.role === "witness" && state !== "removed") {
    return refused(cluster, `${member.name} is a witness: it carries no slots`);
  }
  if (!COMES_FROM[state].includes(member.state)) {
    return refused(cluster, `${member.name} cannot become ${state}: it is ${member.state}`);
  }
  if ((state === "joining" || state === "active") && member.isDisabled === true) {
    return refused(cluster, `${member.name} cannot become ${state}: it is disabled; enable it`);
  }
  if (state === "draining" && !cluster.members.some((m) => m !== member && isServing(m))) {
    return refused(cluster, `${member.name} cannot be drained: no other active node can take its slots`);
  }
  if (state === "removed") return remove(cluster, member);
  if (state === "drained" && cluster.table.owner.includes(node)) {
    return refused(cluster, `${member.name} cannot become drained: it still owns slots`);
  }
  return changed(cluster, { members: withMember(cluster, member, { ...member, state }) });
}

/** Whoever is removed holds nothing and decides nothing any more; what it backs up is backed up elsewhere, or not at all. */
function remove(cluster: ClusterState, member: Member): Outcome {
  const { members, quorum } = cluster;
  const { id, name } = member;
  const table = withoutFormers(cluster.table, (s) => formerOf(cluster.table, s) === id);
  if (table.owner.includes(id)) return refused(cluster, `${name} cannot be removed: it still owns slots`);
  if (table.awaiting.some((awaited) => awaited.includes(id))) {
    return refused(cluster, `${name} cannot be removed: it may still decide flows of slots that it lost`);
  }
  const others = members.filter((m) => m !== member && m.state !== "removed");
  if (member.role === "node" && !others.some((m) => m.role === "node")) {
    return refused(cluster, `${name} cannot be removed: it is the last node`);
  }
  if (quorum !== undefined && quorum.voters.length === 1 && quorum.voters[0] === id) {
    return refused(
      cluster,
      `${name} cannot be removed: it is the last voter; bring another member back first`,
    );
  }
  // It may run, and ends when it applies this: the others must be able to decide the next thing by themselves.
  const sets = quorum === undefined ? [] : [quorum.voters, quorum.outgoing];
  if (!isDispensable(id, sets, new Set(sets.flat()))) {
    return refused(
      cluster,
      `${name} cannot be removed: the others have no majority without its vote; disable it, and wait until it has none`,
    );
  }
  const { isDisabled: _, ...rest } = member;
  const change = { members: withMember(cluster, member, { ...rest, state: "removed" }) };
  if (!holds(cluster.table, id)) return changed(cluster, change);
  const epoch = table.epoch + 1;
  const isLost = (s: number): boolean => table.backup[s] === id;
  return changed(cluster, {
    ...change,
    table: {
      ...table,
      epoch,
      backup: table.backup.map((backup) => (backup === id ? 0 : backup)),
      synced: table.synced.map((isSynced, s) => isSynced && !isLost(s)),
      backupEpoch: table.backupEpoch.map((e, s) => (isLost(s) ? epoch : e)),
      cause: "backup",
    },
  });
}

export function enable(
  cluster: ClusterState,
  { node, isEnabled }: Extract<Command, { type: "enable" }>,
): Outcome {
  const member = find(cluster, node);
  if (member === undefined || member.state === "removed") {
    return refused(cluster, `member ${node} is not known`);
  }
  if (member.role === "witness") return refused(cluster, `${member.name} is a witness: it carries no slots`);
  if (isEnabled !== (member.isDisabled === true)) return unchanged(cluster);
  if (isEnabled) {
    const { isDisabled: _, ...rest } = member;
    const back: Partial<Record<MemberState, MemberState>> = { drained: "joining", draining: "active" };
    const state = back[member.state] ?? member.state;
    return changed(cluster, { members: withMember(cluster, member, { ...rest, state }) });
  }
  const isUp = member.state === "joining" || member.state === "active";
  if (isUp && !cluster.members.some((m) => m !== member && isServing(m))) {
    return refused(cluster, `${member.name} cannot be disabled: no other active node can take its slots`);
  }
  const state = isUp ? "draining" : member.state;
  return changed(cluster, { members: withMember(cluster, member, { ...member, state, isDisabled: true }) });
}

export function weigh(
  cluster: ClusterState,
  { node, weight }: Extract<Command, { type: "weight" }>,
): Outcome {
  const member = find(cluster, node);
  if (member === undefined || member.state === "removed") {
    return refused(cluster, `member ${node} is not known`);
  }
  if (member.role === "witness") return refused(cluster, `${member.name} is a witness: it has no weight`);
  if (weight < 1) return refused(cluster, `${member.name} cannot have weight ${weight}: a node has 1 to 100`);
  if (member.weight === weight && member.isWeightSet === true) return unchanged(cluster);
  const weighed: Member = { ...member, weight, isWeightSet: true };
  return changed(cluster, { members: withMember(cluster, member, weighed) });
}

export function issueToken(cluster: ClusterState, token: Omit<JoinToken, "usedBy">): Outcome {
  const tokens = cluster.tokens ?? [];
  if (tokens.some((known) => known.id === token.id)) return unchanged(cluster);
  // The oldest go: whoever issues so many does not wait for the first.
  return changed(cluster, { tokens: [...tokens.slice(1 - TOKENS_MAX), token] });
}

export function join(cluster: ClusterState, command: Extract<Command, { type: "join" }>): Outcome {
  const { name, role, address, atWallMs, aboveId } = command;
  const { members, tokens = [] } = cluster;
  const token = tokens.find((known) => known.id === command.token);
  if (token === undefined) return refused(cluster, "the token is not known: issue another one");
  if (token.usedBy !== undefined) {
    return refused(cluster, `the token was used by member ${token.usedBy} already: issue another one`);
  }
  if (atWallMs >= token.expiresWallMs) {
    const seconds = Math.ceil((atWallMs - token.expiresWallMs) / 1000);
    return refused(cluster, `the token expired ${seconds} s ago: issue another one`);
  }
  if (token.role !== role) return refused(cluster, `the token is for a ${token.role}, not for a ${role}`);
  if (token.name !== undefined && token.name !== name) {
    return refused(cluster, `the token is for ${token.name}, not for ${name}`);
  }
  const namesake = members.find((m) => m.name === name && m.state !== "removed");
  let before = cluster;
  if (namesake !== undefined) {
    if (token.name === undefined) {
      return refused(
        cluster,
        `there is a ${name} already: remove it, or issue a token for ${name}, which then takes its place`,
      );
    }
    const removed = setState(cluster, namesake.id, "removed");
    if (!removed.result.ok) return { cluster, result: removed.result };
    before = removed.cluster;
  }
  const present = before.members.filter((m) => m.state !== "removed");
  const twin = present.find((m) => m.address === address);
  if (twin !== undefined) return refused(cluster, `address ${address} belongs to ${twin.name}`);
  const alike = present.filter((m) => m.role === role).length;
  if (alike >= (role === "node" ? NODES_MAX : 1)) {
    return refused(cluster, `there ${alike === 1 ? "is one" : `are ${alike}`} of role ${role} already`);
  }
  const id = 1 + members.reduce((highest, m) => Math.max(highest, m.id), aboveId);
  if (id > MEMBER_ID_MAX) return refused(cluster, `no id is left: ${MEMBER_ID_MAX} members were given one`);
  const weight = role === "node" ? token.weight : 0;
  const member: Member = { id, name, role, address, weight, state: "down", incarnation: 0 };
  return changed(before, {
    members: [...before.members, member],
    tokens: tokens.map((known) => (known === token ? { ...known, usedBy: id } : known)),
  });
}

function isServing(member: Member): boolean {
  return isCarrier(member) && member.state === "active";
}
