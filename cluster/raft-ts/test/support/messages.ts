/**
 * Short ways to write messages, entries and nodes with a given past. Owns defaults only: node 2 writes to node 1 in term 1.
 */
import type {
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfState,
  Entry,
  Message,
  MsgApp,
  MsgAppResp,
  MsgHeartbeat,
  MsgSnap,
  MsgVote,
  Snapshot,
} from "raft-ts";
import { bytes, type NodeOptions, TestNode, voters } from "./driver.ts";

const HEAD = { from: 2, to: 1, term: 1 } as const;

export const entry = (index: number, term: number, data = ""): Entry => ({
  index,
  term,
  type: "normal",
  data: bytes(data),
});

export const app = (m: Partial<MsgApp> = {}): MsgApp => ({
  type: "MsgApp",
  ...HEAD,
  index: 0,
  logTerm: 0,
  commit: 0,
  entries: [],
  ...m,
});

export const ack = (m: Partial<MsgAppResp> = {}): MsgAppResp => ({
  type: "MsgAppResp",
  ...HEAD,
  index: 0,
  reject: false,
  rejectHint: 0,
  logTerm: 0,
  ...m,
});

export const beat = (m: Partial<MsgHeartbeat> = {}): MsgHeartbeat => ({
  type: "MsgHeartbeat",
  ...HEAD,
  commit: 0,
  ...m,
});

export const beatResp = (from: number, term = 1): Message => ({
  type: "MsgHeartbeatResp",
  from,
  to: 1,
  term,
});

export const vote = (
  m: Partial<Omit<MsgVote, "type">> & { type?: "MsgVote" | "MsgPreVote" } = {},
): Message => ({
  type: "MsgVote",
  ...HEAD,
  index: 0,
  logTerm: 0,
  ...m,
});

export const grant = (from: number, term = 1, reject = false): Message => ({
  type: "MsgVoteResp",
  from,
  to: 1,
  term,
  reject,
});

export const snap = (snapshot: Snapshot, m: Partial<MsgSnap> = {}): MsgSnap => ({
  type: "MsgSnap",
  ...HEAD,
  snapshot,
  ...m,
});

/** A snapshot whose state machine holds nothing. */
export const snapshotAt = (index: number, term: number, confState: ConfState): Snapshot => ({
  index,
  term,
  confState,
  data: bytes('{"applied":[]}'),
});

/** `+4` adds a voter, `~4` a learner, `-4` removes; nothing leaves a joint configuration. */
export function change(text: string, transition: ConfChangeTransition = "auto"): ConfChange {
  const types = { "+": "addVoter", "~": "addLearner", "-": "remove" } as const;
  const changes = text
    .split(" ")
    .filter((word) => word !== "")
    .map(
      (word): ConfChangeSingle => ({ type: types[word[0] as keyof typeof types], id: Number(word.slice(1)) }),
    );
  return { changes, transition };
}

export interface Past {
  readonly id?: number;
  readonly conf?: ConfState;
  /** One durable entry per term given. */
  readonly terms?: readonly number[];
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  /** Instead of entries: the log begins behind this snapshot. */
  readonly snapshot?: Snapshot;
}

/** A node with that past behind it, freshly started. */
export function nodeWith(past: Past = {}, options: NodeOptions = {}): TestNode {
  const { id = 1, conf = voters(1, 2, 3), terms = [], snapshot } = past;
  const node = new TestNode(id, conf, options);
  if (snapshot !== undefined) node.storage.applySnapshot(snapshot);
  const base = snapshot?.index ?? 0;
  node.storage.append(terms.map((t, i) => entry(base + i + 1, t, `${t}`)));
  const { term = terms.at(-1) ?? snapshot?.term ?? 0, vote = 0, commit = base } = past;
  node.storage.setHardState({ term, vote, commit });
  node.restart();
  return node;
}

/** As nodeWith(), then elected by all others; its first own entry was sent, and nothing is acknowledged. */
export function leaderWith(past: Past = {}, options: NodeOptions = {}): TestNode {
  const node = nodeWith(past, options);
  const { confState, term } = node.raw.status();
  node.raw.campaign();
  node.drain();
  for (const id of [...confState.voters, ...confState.votersOutgoing]) {
    if (id !== node.id && node.raw.status().state === "candidate") {
      node.raw.step({ type: "MsgVoteResp", from: id, to: node.id, term: term + 1, reject: false });
    }
  }
  if (node.raw.status().state !== "leader") throw new Error("not elected");
  return node;
}

/** Steps and answers what the node has to say to it. */
export function answers(node: TestNode, m: Message): Message[] {
  node.raw.step(m);
  return node.drain();
}
