/**
 * Control model: what the cluster agrees on through Raft, and the commands that change it. Plain JSON-safe data.
 * Owns the shapes; machine.ts applies commands, planner.ts decides what the leader proposes next, ring/ computes tables.
 *
 *   life of a member:   (absent) --up--> joining --ready for its slots--> active --drain--> draining --empty--> drained
 *                                          ^  ^                             ^ ^                 |                  |
 *                                          |  `-- up -- down <-- from any --' `---- undone -----'                  |
 *                                          `------------------------ rejoin, or up: a new life --------------------'
 *
 *   A restart ends a drain: whoever upgrades a node need not remember to bring it back. `removed` is for good. A member that
 *   joined with a token is `down` in life 0 until it comes up; a disabled one comes up as `drained`.
 */
import type { Generation } from "./generation.ts";

/** Ids are a byte on the wire; 0 is nobody. */
export const MEMBER_ID_MAX = 255;
/**
 * Stands among voters for the store that keeps the log, where the site runs one (control.store): it votes on leases when the
 * members that vote are even in number, so that a pair needs no witness. No member has this id.
 */
export const STORE_VOTER = MEMBER_ID_MAX + 1;
/** Members of role node that a cluster has at a time. */
export const NODES_MAX = 8;
/** Join tokens that are remembered, used ones too. */
export const TOKENS_MAX = 32;

export type MemberState = "joining" | "active" | "draining" | "drained" | "down" | "removed";

export interface Member {
  /** 1..255; the Raft id and the wire id. */
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  /** Address on the cluster link, as in the configuration ("192.0.2.1"). */
  readonly address: string;
  /** Share of slots relative to others, 1..100; a witness has 0. */
  readonly weight: number;
  readonly state: MemberState;
  /** Counts the lives of the member's dataplane: a new one holds no flows. 0: never seen. */
  readonly incarnation: number;
  /** Name of the member's Raft log (storage/founding.ts); absent while none was told. Another one has forgotten its votes. */
  readonly log?: string;
  /** The operator keeps it out: it votes, but owns nothing, whatever it is restarted. */
  readonly isDisabled?: true;
  /** The weight was set by the operator: what the member's own configuration says does not count. */
  readonly isWeightSet?: true;
}

/**
 * Whose promises back a lease, and who fences: a majority of `voters`, and of `outgoing` as well while one set follows
 * another. Raft's own voters follow when that is over. Absent: those that the log was begun with. The rules and why they
 * hold: quorum.ts.
 */
export interface Quorum {
  /** The table's epoch in which these sets came to count: a lease request of an earlier one is refused. */
  readonly epoch: number;
  readonly voters: readonly number[];
  /** The set before; empty when the change is over. */
  readonly outgoing: readonly number[];
  /** Members that go by these sets, proven by themselves. */
  readonly known: readonly number[];
}

/** What lets one new member in, once. */
export interface JoinToken {
  readonly id: string;
  /** Key of the proof (HMAC-SHA-256), hex, masked by the cluster's secret (registration/token.ts). */
  readonly key: string;
  readonly role: "node" | "witness";
  /** The member that is meant; its predecessor of that name, when there is one, is removed. Absent: any new name. */
  readonly name?: string;
  readonly weight: number;
  /** Wall time, by the clock of whoever issued it. */
  readonly expiresWallMs: number;
  /** The member that came with it; absent while it is unused. */
  readonly usedBy?: number;
}

/**
 * Who owns and backs up each slot. Arrays have one cell per slot; node id 0 means nobody.
 *
 * `awaiting[s]` names the nodes whose exclusive right to slot s may still run: earlier owners that have not been proven
 * to have let go. The owner of s acts exclusively only after each of them sent its barrier for an epoch >= `movedEpoch[s]`,
 * or is fenced and a majority's promises to it have run out; it then commits `settled`.
 */
export interface SlotTable {
  readonly epoch: number;
  readonly owner: readonly number[];
  readonly backup: readonly number[];
  /** True when the backup has proven by digest that it holds the whole slot. */
  readonly synced: readonly boolean[];
  readonly awaiting: readonly (readonly number[])[];
  /** The epoch in which the present owner got the slot. */
  readonly movedEpoch: readonly number[];
  /** The epoch in which the present backup got the slot; `ready` must name it. */
  readonly backupEpoch: readonly number[];
  /**
   * The proven backup of before, while another one is being made: it goes on getting every change and takes over, until the new
   * one is proven and a table without it was committed (former.ts). 0: nobody. Absent: no slot has one.
   */
  readonly former?: readonly number[];
  /** `forced`: one node of a pair went on alone, without a majority (forced.ts). */
  readonly cause: "initial" | "takeover" | "handover" | "backup" | "settled" | "voters" | "forced";
}

export interface ClusterState {
  readonly members: readonly Member[];
  readonly table: SlotTable;
  readonly quorum?: Quorum;
  /** Where this log began, when it is not the cluster's first: the latest forced epoch, and who forced it. */
  readonly forced?: Generation;
  /** The latest ones; absent: none was ever issued. */
  readonly tokens?: readonly JoinToken[];
  /** Counts applied commands that changed something. */
  readonly revision: number;
}

/** Commands travel as UTF-8 JSON in Raft entries: `{ v: 1, id, by, cmd }`, see machine.ts. */
export type Command =
  /**
   * A node's dataplane is up in a new life. Refused while the member still owns slots: `down` it first. The first one of a
   * cluster decides how many slots there are, whatever the configuration of whoever applies it says; members with other
   * `slots` and members that come with another `log` are refused. Both are absent in logs of older builds.
   */
  | {
      readonly type: "up";
      readonly member: Pick<Member, "id" | "name" | "role" | "address" | "weight">;
      readonly slots?: number;
      readonly log?: string;
    }
  /** The member is dead (or starts a new life): `table` is computed by ring from the state at `baseEpoch`. */
  | {
      readonly type: "down";
      readonly node: number;
      readonly incarnation: number;
      readonly baseEpoch: number;
      readonly table: SlotTable;
    }
  /** A planned change of owners or backups. Ignored when the epoch moved on. */
  | { readonly type: "table"; readonly baseEpoch: number; readonly table: SlotTable }
  /** `node` holds these slots as backup, proven by digest; `backupEpochs` runs along `slots`. */
  | {
      readonly type: "ready";
      readonly node: number;
      readonly slots: readonly number[];
      readonly backupEpochs: readonly number[];
    }
  /** The owner acts exclusively on these slots: nobody is awaited any more; `movedEpochs` runs along `slots`. */
  | {
      readonly type: "settled";
      readonly node: number;
      readonly slots: readonly number[];
      readonly movedEpochs: readonly number[];
    }
  | {
      readonly type: "setState";
      readonly node: number;
      readonly state: "draining" | "drained" | "active" | "joining" | "removed";
    }
  /** The operator keeps a member out of owning slots, over restarts, or lets it in again. */
  | { readonly type: "enable"; readonly node: number; readonly isEnabled: boolean }
  | { readonly type: "weight"; readonly node: number; readonly weight: number }
  /** Other voters than `from`, which count now: from here on majorities of both are needed, until `votersDone`. Under way: back to those before. */
  | {
      readonly type: "voters";
      readonly baseEpoch: number;
      readonly from: readonly number[];
      readonly to: readonly number[];
    }
  | { readonly type: "votersDone"; readonly baseEpoch: number }
  /** `node` goes by the quorum of `epoch`. */
  | { readonly type: "votersKnown"; readonly node: number; readonly epoch: number }
  | { readonly type: "token"; readonly token: Omit<JoinToken, "usedBy"> }
  /** A new member came with a token, and proved it. It gets an id above `aboveId` that nobody ever had. */
  | {
      readonly type: "join";
      readonly token: string;
      readonly name: string;
      readonly role: "node" | "witness";
      readonly address: string;
      readonly aboveId: number;
      /** Wall time of whoever checked the proof. */
      readonly atWallMs: number;
    };

export type CommandResult =
  | { readonly ok: true; readonly changed: boolean }
  | { readonly ok: false; readonly reason: string };

/** A cluster before anything happened. `slots` is a power of two, 16..1024. */
export function emptyState(slots: number): ClusterState {
  const zeros = new Array<number>(slots).fill(0);
  return {
    members: [],
    table: {
      epoch: 0,
      owner: zeros,
      backup: zeros,
      synced: new Array<boolean>(slots).fill(false),
      awaiting: new Array<readonly number[]>(slots).fill([]),
      movedEpoch: zeros,
      backupEpoch: zeros,
      cause: "initial",
    },
    revision: 0,
  };
}
