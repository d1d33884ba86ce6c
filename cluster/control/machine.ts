/**
 * Machine: applies committed commands to the cluster's state. Pure and total: the same entries give the same state on every
 * node, and whatever an entry holds, it is applied or refused, never thrown.
 * Owns the rules of lives and tables; members are member-commands.ts, voters quorum.ts. Bytes are codec.ts; checking and merging of tables is table-change.ts.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { type Decoded, decodeEnvelope, decodeSnapshot, type Envelope, encodeSnapshot } from "./codec.ts";
import { holds } from "./former.ts";
import { enable, issueToken, join, setState, weigh } from "./member-commands.ts";
import {
  type ClusterState,
  type Command,
  type CommandResult,
  emptyState,
  type Member,
  type SlotTable,
} from "./model.ts";
import { changed, epochMoved, find, type Outcome, refused, unchanged } from "./outcome.ts";
import { beginVoters, finishVoters, noteVotersKnown } from "./quorum.ts";
import { forgetCopies, merge, refusal } from "./table-change.ts";

/** Results remembered so that a command that was proposed again is answered, not applied again. */
const RECENT_MAX = 256;

export interface MachineState {
  readonly cluster: ClusterState;
  /** The latest command ids with their results, oldest first. */
  readonly recent: readonly { readonly id: string; readonly result: CommandResult }[];
}

/** What one committed entry did. */
export interface Applied {
  readonly state: MachineState;
  /** Absent when the entry could not be read. */
  readonly envelope?: Envelope;
  readonly result: CommandResult;
}

export function emptyMachine(slots: number): MachineState {
  return { cluster: emptyState(slots), recent: [] };
}

/** Applies the payload of a committed entry. */
export function applyEntry(state: MachineState, data: Uint8Array): Applied {
  const decoded = decodeEnvelope(data);
  if (!decoded.ok) return { state, result: { ok: false, reason: decoded.reason } };
  const envelope = decoded.value;
  const known = state.recent.find((entry) => entry.id === envelope.id);
  if (known !== undefined) return { state, envelope, result: known.result };
  const { cluster, result } = applyCommand(state.cluster, envelope.cmd);
  const recent = [...state.recent.slice(1 - RECENT_MAX), { id: envelope.id, result }];
  return { state: { cluster, recent }, envelope, result };
}

export function encodeMachine(state: MachineState): Uint8Array {
  return encodeSnapshot(state as Parameters<typeof encodeSnapshot>[0]);
}

export function decodeMachine(bytes: Uint8Array): Decoded<MachineState> {
  return decodeSnapshot(bytes);
}

/** The state of a snapshot. Throws SW_STORAGE_CORRUPT. */
export function restoreMachine(bytes: Uint8Array): MachineState {
  const decoded = decodeMachine(bytes);
  if (decoded.ok) return decoded.value;
  throw new SynwallError("SW_STORAGE_CORRUPT", `Cannot restore the cluster's state: ${decoded.reason}`);
}

/** Applies one command; the state is the same object when nothing changed. */
export function applyCommand(cluster: ClusterState, command: Command): Outcome {
  switch (command.type) {
    case "up":
      return up(cluster, command);
    case "down":
      return down(cluster, command);
    case "table":
      return changeTable(cluster, command.baseEpoch, command.table);
    case "ready":
      return ready(cluster, command);
    case "settled":
      return settled(cluster, command);
    case "setState":
      return setState(cluster, command.node, command.state);
    case "enable":
      return enable(cluster, command);
    case "weight":
      return weigh(cluster, command);
    case "token":
      return issueToken(cluster, command.token);
    case "join":
      return join(cluster, command);
    case "voters":
      return beginVoters(cluster, command);
    case "votersDone":
      return finishVoters(cluster, command.baseEpoch);
    case "votersKnown":
      return noteVotersKnown(cluster, command);
    default:
      return command satisfies never;
  }
}

function up(cluster: ClusterState, command: Extract<Command, { type: "up" }>): Outcome {
  const known = cluster.table.owner.length;
  const { slots = known, member } = command;
  if (slots === known) return admit(cluster, command);
  if (cluster.revision > 0) {
    return refused(cluster, `the cluster has ${known} slots, ${member.name} is set to ${slots}`);
  }
  // Nothing has happened yet: the log says how many slots there are, not the configuration of whoever reads it.
  const outcome = admit(emptyState(slots), command);
  return outcome.result.ok ? outcome : { cluster, result: outcome.result };
}

function admit(cluster: ClusterState, command: Extract<Command, { type: "up" }>): Outcome {
  const { table } = cluster;
  const { member: wanted } = command;
  const present = find(cluster, wanted.id);
  const log = command.log ?? present?.log;
  if (wanted.id === 0) return refused(cluster, "member id 0 means nobody");
  if (wanted.role === "node" ? wanted.weight < 1 : wanted.weight !== 0) {
    return refused(cluster, `a ${wanted.role} cannot have weight ${wanted.weight}`);
  }
  const namesake = cluster.members.find(
    (m) => m.name === wanted.name && m.id !== wanted.id && m.state !== "removed",
  );
  if (namesake !== undefined) return refused(cluster, `name ${wanted.name} belongs to member ${namesake.id}`);
  if (present !== undefined && present.role !== wanted.role) {
    return refused(cluster, `member ${wanted.id} is a ${present.role}, not a ${wanted.role}`);
  }
  if (present?.log !== undefined && log !== present.log) {
    return refused(cluster, `${wanted.name} comes with another log: it has forgotten what it voted`);
  }
  if (present?.state === "removed") return refused(cluster, `member ${wanted.id} was removed for good`);
  if (table.owner.includes(wanted.id)) {
    return refused(cluster, `member ${wanted.id} still owns slots: declare it down first`);
  }
  const isKeptOut = present?.isDisabled === true;
  const member: Member = {
    ...wanted,
    // A restart ends a drain as well: whoever upgrades a node need not remember to bring it back.
    state: wanted.role === "witness" ? "active" : isKeptOut ? "drained" : "joining",
    incarnation: (present?.incarnation ?? 0) + 1,
    ...(log === undefined ? {} : { log }),
    ...(isKeptOut ? { isDisabled: true } : {}),
    ...(present?.isWeightSet === true ? { weight: present.weight, isWeightSet: true } : {}),
  };
  const members = [...cluster.members.filter((m) => m.id !== member.id), member].sort((a, b) => a.id - b.id);
  return changed(cluster, { members, table: forgetCopies(table, member.id) });
}

function down(cluster: ClusterState, command: Extract<Command, { type: "down" }>): Outcome {
  const { table } = cluster;
  const member = find(cluster, command.node);
  if (member === undefined) return refused(cluster, `member ${command.node} is not known`);
  if (member.state === "removed") return refused(cluster, `member ${command.node} was removed`);
  if (command.incarnation !== member.incarnation) {
    return refused(
      cluster,
      `member ${command.node} is in life ${member.incarnation}, not ${command.incarnation}`,
    );
  }
  if (member.state === "down") return unchanged(cluster);
  if (command.baseEpoch !== table.epoch) return epochMoved(cluster, command.baseEpoch);
  const members = cluster.members.map((m): Member => (m === member ? { ...m, state: "down" } : m));
  if (command.table.epoch === table.epoch) {
    if (!holds(table, member.id)) return changed(cluster, { members });
    return refused(cluster, `member ${member.id} owns or backs up slots: the table must change`);
  }
  const why = refusal(table, command.table, members);
  if (why !== undefined) return refused(cluster, why);
  return changed(cluster, { members, table: merge(table, command.table) });
}

function changeTable(cluster: ClusterState, baseEpoch: number, table: SlotTable): Outcome {
  if (baseEpoch !== cluster.table.epoch) return epochMoved(cluster, baseEpoch);
  const why = refusal(cluster.table, table, cluster.members);
  if (why !== undefined) return refused(cluster, why);
  return changed(cluster, { table: merge(cluster.table, table) });
}

function ready(cluster: ClusterState, command: Extract<Command, { type: "ready" }>): Outcome {
  const { table } = cluster;
  if (command.slots.length !== command.backupEpochs.length) {
    return refused(cluster, "slots and backupEpochs differ in length");
  }
  const synced = [...table.synced];
  let count = 0;
  for (const [i, s] of command.slots.entries()) {
    const isMeant = table.backup[s] === command.node && table.backupEpoch[s] === command.backupEpochs[i];
    if (!isMeant || synced[s]) continue;
    synced[s] = true;
    count++;
  }
  return count === 0 ? unchanged(cluster) : changed(cluster, { table: { ...table, synced } });
}

function settled(cluster: ClusterState, command: Extract<Command, { type: "settled" }>): Outcome {
  const { table } = cluster;
  if (command.slots.length !== command.movedEpochs.length) {
    return refused(cluster, "slots and movedEpochs differ in length");
  }
  const awaiting = [...table.awaiting];
  let count = 0;
  for (const [i, s] of command.slots.entries()) {
    const isMeant = table.owner[s] === command.node && table.movedEpoch[s] === command.movedEpochs[i];
    if (!isMeant || awaiting[s]!.length === 0) continue;
    awaiting[s] = [];
    count++;
  }
  return count === 0 ? unchanged(cluster) : changed(cluster, { table: { ...table, awaiting } });
}
