/**
 * Commands: builds the ones that carry a computed slot table, so that whoever proposes and who applies agree.
 * Owns no decision when to propose (planner.ts, the node's shell) and no application (machine.ts).
 */
import { takeover } from "../ring/assign.ts";
import { byId, type RingNode } from "../ring/quota.ts";
import { keeperOf } from "./former.ts";
import type { ClusterState, Command, Member } from "./model.ts";

/** Alive and with a dataplane, as far as the members say: may own or back up slots. */
export function isCarrier(member: Member): boolean {
  return member.role === "node" && member.state !== "down" && member.state !== "removed";
}

/** Is to own nothing: it is leaving, or the operator keeps it out. */
export function isLeaving(member: Member): boolean {
  return member.state === "draining" || member.state === "drained";
}

/** A member as the ring sees it. */
export function ringNode(member: Member): RingNode {
  return isLeaving(member)
    ? { id: member.id, weight: member.weight, isLeaving: true }
    : { id: member.id, weight: member.weight };
}

/** Members with a dataplane that were up once, dead or alive, by id: those that slots have homes with. */
export function residents(members: readonly Member[]): RingNode[] {
  return byId(
    members
      .filter(({ role, state, incarnation }) => role === "node" && state !== "removed" && incarnation > 0)
      .map(({ id, weight }) => ({ id, weight })),
  );
}

/** Some flows of `node` have no proven copy: whoever takes its slots over now breaks them. */
export function wouldLoseFlows({ table }: ClusterState, node: number): boolean {
  return table.owner.some((owner, s) => owner === node && keeperOf(table, s) === 0);
}

/** "node is dead, its slots go to their backups", from `state`. `alive` says whom the proposer hears; absent: everybody. */
export function downCommand(
  state: ClusterState,
  node: number,
  alive?: ReadonlySet<number>,
): Command | undefined {
  const member = state.members.find((m) => m.id === node);
  if (member === undefined || member.state === "down" || member.state === "removed") return undefined;
  const heirs = state.members.filter((m) => m.id !== node && isCarrier(m) && (alive?.has(m.id) ?? true));
  const table = member.role === "witness" ? state.table : takeover(state.table, node, heirs.map(ringNode));
  return { type: "down", node, incarnation: member.incarnation, baseEpoch: state.table.epoch, table };
}
