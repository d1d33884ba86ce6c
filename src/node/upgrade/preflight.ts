/**
 * Preflight: whether a rolling upgrade may begin, or go on to its next member, and who is next. Pure: what members say in, reasons
 * out. A reason says what is wrong, what it means and what to do, since whoever reads it may have been woken up for it.
 */
import type { MemberProcess, MemberView, StatusReport } from "../admin-model.ts";
import { misunderstandings, type Speech } from "./speech.ts";

/** Changes that the backup has not confirmed for so long: it is not fit to take over now. */
const LAG_MS_MAX = 1000;

/** What the cluster says of itself. */
export interface View {
  readonly status: StatusReport;
  readonly members: readonly MemberView[];
  readonly processes: readonly MemberProcess[];
}

/** The build that members are to run afterwards. */
export interface Target {
  readonly version: string;
  /** Empty: any build of that version. */
  readonly build: string;
  readonly speech: Speech;
}

export interface Wishes {
  readonly target: Target;
  /** Names of the members to be upgraded; empty: all. */
  readonly only: readonly string[];
  /** Also members that run the target already: a rolling restart. */
  readonly isAll: boolean;
  /** Goes on although a restart leaves no majority until it is over. */
  readonly mayLoseMajority: boolean;
  /** Members are asked to end themselves, so somebody has to start them again. */
  readonly needsSupervisor: boolean;
}

/** A member in the queue. */
export interface Candidate {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  readonly isDisabled: boolean;
  readonly version: string;
  readonly build: string;
}

/** Members to be upgraded, in no particular order; see nextOf(). */
export function queueOf(view: View, { target, only, isAll }: Wishes): Candidate[] {
  return view.members
    .filter(({ name, state }) => state !== "expected" && (only.length === 0 || only.includes(name)))
    .map(({ id, name, role, isDisabled }) => ({ id, name, role, isDisabled, ...buildOf(view, id) }))
    .filter((member) => isAll || !runs(member, target));
}

/** Whether a member runs the target. */
export function runs(member: { readonly version: string; readonly build: string }, target: Target): boolean {
  return member.version === target.version && (target.build === "" || member.build === target.build);
}

/** What a member runs now. */
export function buildOf(
  { processes }: View,
  id: number,
): { readonly version: string; readonly build: string } {
  const found = processes.find((process) => process.id === id);
  return { version: found?.version ?? "", build: found?.process?.build ?? "" };
}

/** The next one: what was drained before, then whoever does not lead, the witness first; the leader last. */
export function nextOf(queue: readonly Candidate[], { status }: View): Candidate | undefined {
  const rank = ({ id, name, role }: Candidate): number => {
    const state = status.members.find((member) => member.id === id)?.state;
    if (state === "drained" || state === "draining") return 0;
    if (name === status.leader) return 3;
    return role === "witness" ? 1 : 2;
  };
  return queue.toSorted((a, b) => rank(a) - rank(b) || a.id - b.id)[0];
}

/** Why no member may be restarted now, one line each. `queue`: those that are to be. */
export function troubles(view: View, queue: readonly Candidate[], wishes: Wishes): string[] {
  return [
    ...strangers(view, wishes),
    ...absent(view),
    ...moving(view, queue),
    ...unproven(view),
    ...alone(view, queue, wishes),
    ...mute(view, wishes.target),
    ...unsupervised(view, queue, wishes),
  ];
}

function strangers({ members }: View, { only }: Wishes): string[] {
  return only
    .filter((name) => !members.some((member) => member.name === name))
    .map((name) => `no member "${name}": use ${members.map((member) => member.name).join(", ")}`);
}

function absent({ status, members, processes }: View): string[] {
  if (status.leader === "") {
    return [
      "no leader: nothing can be decided, so no slot could be handed over; see docs/runbooks/leader-missing.md",
    ];
  }
  return members.flatMap(({ id, name, state }) => {
    if (state === "expected") return [];
    if (state === "down")
      return [`${name} is down: one more away could be one too many; start it, or remove it`];
    const isHeard = id === status.id || status.peers.some((peer) => peer.id === id && peer.alive);
    if (!isHeard) return [`${name} is silent on all links: see docs/runbooks/node-down.md`];
    if (processes.some((process) => process.id === id && process.isReachable)) return [];
    return [
      `${name} does not answer over the cluster link: what it runs is unknown; check the link and its log`,
    ];
  });
}

/** Somebody else is at work on a member, or the cluster itself is. */
function moving({ status, members }: View, queue: readonly Candidate[]): string[] {
  return status.members.flatMap(({ id, name, state }) => {
    if (state === "joining")
      return [`${name} is still receiving its flows: wait until 'synwall status' says OK`];
    if (state !== "draining" && state !== "drained") return [];
    // Kept out on purpose; or what a former run of an upgrade left, and this one goes on with.
    if (members.some((member) => member.id === id && member.isDisabled)) return [];
    if (state === "drained" && queue.some((member) => member.id === id)) return [];
    return [
      state === "drained"
        ? `${name} is drained, for maintenance: end it with 'synwall rejoin ${name}'`
        : `${name} is being drained: somebody else is at work; wait until it is over`,
    ];
  });
}

function unproven({ status }: View): string[] {
  const lines: string[] = [];
  if (status.lease?.isFenced === true) {
    lines.push(`${status.node} is fenced, no majority answers it: see docs/runbooks/fenced.md`);
  }
  if (!status.isSettled) {
    lines.push(
      "some slots are changing hands or have no proven copy: to stop a node now would cost flows; wait until 'synwall status' says OK",
    );
  }
  for (const { name, alive, sync } of status.peers) {
    if (!alive || sync === undefined) continue;
    if (sync.refusal !== undefined) lines.push(`sync to ${name} is refused: ${sync.refusal}`);
    else if (!sync.connected) lines.push(`no replication to ${name}: see docs/runbooks/sync-silent.md`);
    else if (sync.lagMs > LAG_MS_MAX) {
      const ms = Math.round(sync.lagMs);
      lines.push(`sync to ${name} lags ${ms} ms: see docs/runbooks/sync-lagging.md`);
    }
  }
  return lines;
}

function alone({ status }: View, queue: readonly Candidate[], { mayLoseMajority }: Wishes): string[] {
  // What a former run left drained comes first, and serves again when the others' turn comes.
  const isBackByThen = (id: number, state: string): boolean =>
    state === "drained" && queue.some((member) => member.id === id && !member.isDisabled);
  const serving = status.members.filter(
    ({ id, role, state }) => role === "node" && (state === "active" || isBackByThen(id, state)),
  );
  const isNodeDue = queue.some(({ id }) => serving.some((node) => node.id === id));
  if (isNodeDue && serving.length < 2) {
    return [
      `${serving[0]?.name ?? "no node"} serves alone: nobody could take its flows while it restarts; bring another node back first`,
    ];
  }
  // Of a pair the other one goes on alone meanwhile, and decides.
  if (queue.length === 0 || mayLoseMajority || !status.isUnwitnessed || status.pair !== undefined) return [];
  return [
    "unwitnessed: while a member restarts no majority would be left, and no new flow be let through; bring the missing members back or add a witness, or accept it with --accept-no-majority",
  ];
}

function mute({ processes }: View, target: Target): string[] {
  return processes.flatMap(({ name, version, process }) => {
    if (process === undefined) return [];
    const reasons = misunderstandings(target.speech, process);
    if (reasons.length === 0) return [];
    return [
      `${name} (${version}) and version ${target.version} do not understand each other (${reasons.join("; ")}): they cannot stand side by side; go over a version between them`,
    ];
  });
}

function unsupervised(
  { processes }: View,
  queue: readonly Candidate[],
  { needsSupervisor }: Wishes,
): string[] {
  if (!needsSupervisor) return [];
  return processes.flatMap(({ id, name, isReachable, version, process }) => {
    if (!isReachable || !queue.some((member) => member.id === id)) return [];
    if (process === undefined) {
      return [
        `${name} (${version}) is too old to be asked for a restart: say how with --restart-command, like 'ssh {node} systemctl restart synwall-{role}'`,
      ];
    }
    if (process.isSupervised) return [];
    return [
      `${name} was started by nobody who starts it again (SYNWALL_SUPERVISED is not set, as the systemd unit does): say how with --restart-command`,
    ];
  });
}
