/**
 * Rolling upgrade: one member after the other is emptied, restarted and given its slots back, while the cluster goes on. Owns the
 * order of steps and when to stop: at the first thing that is not as it must be, with the cluster serving. How a process is
 * restarted is handed in; whether a step may begin is preflight.ts's.
 *
 *   look -> may it begin? -> drain -> copies elsewhere? -> restart -> a new life? the right build? -> slots back, proven -> next
 *
 * Nothing is remembered between runs: what a former one did is seen in the members, so it may be run again at any time.
 */
import { SynwallError } from "../../base/errors.ts";
import type { AdminMethod, AdminMethods } from "../admin-model.ts";
import {
  buildOf,
  type Candidate,
  nextOf,
  queueOf,
  runs,
  type Target,
  troubles,
  type View,
  type Wishes,
} from "./preflight.ts";

const ASK_INTERVAL_MS = 200;
/** The member answers at its own deadline; who asks waits a little longer, so that its reason arrives. */
const ANSWER_MARGIN_MS = 5_000;
const ASK_MS_MAX = 10_000;
/** A drained leader hands over by itself, and once more when it stops: not worth stopping for. */
const HAND_OVER_MS_MAX = 5_000;
const GIVE_BACK_MS_MAX = 30_000;
/** What streams and leases need after a restart; what is wrong then is wrong. */
const CALM_MS_MAX = 20_000;

/** Where an upgrade is carried out. */
export interface UpgradeStage {
  /** Asks a member of the cluster, whichever answers. Throws SW_ADMIN_UNREACHABLE. */
  ask<Method extends AdminMethod>(
    method: Method,
    params: AdminMethods[Method]["params"],
    options: { readonly timeoutMs: number },
  ): Promise<AdminMethods[Method]["result"]>;
  /** Has the process of this life end and another one begin; need not wait for that. */
  restart(member: RestartedMember): Promise<void>;
  nowMs(): number;
  pause(ms: number): Promise<void>;
  /** One line for the operator; `member` is empty for the whole cluster. */
  progress(member: string, text: string): void;
}

export interface RestartedMember {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  readonly incarnation: number;
}

export interface UpgradeOptions extends Wishes {
  /** Says what would be done. */
  readonly isDryRun: boolean;
  /** Longest time of each step. */
  readonly stepTimeoutMs: number;
}

export interface MemberUpgrade {
  readonly name: string;
  readonly role: "node" | "witness";
  readonly from: string;
  readonly to: string;
  readonly outcome: "upgraded" | "current" | "waiting" | "stopped";
  /** How long each step took; absent when it was not done. */
  readonly drainMs?: number;
  /** From the restart to a new life. */
  readonly awayMs?: number;
  /** From the new life until it had its slots back, all proven. */
  readonly backMs?: number;
}

export interface UpgradeReport {
  readonly target: { readonly version: string; readonly build: string };
  readonly isDryRun: boolean;
  /** All members run the target, or every member that was asked for does. */
  readonly isDone: boolean;
  /** Why it stopped or did not begin, one line each; empty when it did not. */
  readonly stopped: readonly string[];
  readonly members: readonly MemberUpgrade[];
  readonly tookMs: number;
}

/** Carries it out, or says why not; throws only when nobody answers at all. */
export function upgrade(stage: UpgradeStage, options: UpgradeOptions): Promise<UpgradeReport> {
  return new Upgrade(stage, options).run();
}

type Times = Pick<MemberUpgrade, "drainMs" | "awayMs" | "backMs">;

class Upgrade {
  readonly #stage: UpgradeStage;
  readonly #options: UpgradeOptions;
  readonly #startedMs: number;
  readonly #done = new Map<string, Times>();
  #first: View | undefined;
  /** The newest state that any answer told of: who tells of an older one has just started. */
  #commit = 0;

  constructor(stage: UpgradeStage, options: UpgradeOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#startedMs = stage.nowMs();
  }

  async run(): Promise<UpgradeReport> {
    const { isDryRun } = this.#options;
    let view = await this.#look();
    this.#first = view;
    let queue = queueOf(view, this.#options);
    const wrong = troubles(view, queue, this.#options);
    if (wrong.length > 0 || isDryRun) return this.#report(queue, wrong, "");
    for (;;) {
      const member = nextOf(queue, view);
      if (member === undefined) return this.#report([], [], "");
      try {
        this.#done.set(member.name, await this.#replace(member, view));
      } catch (error) {
        if (!(error instanceof SynwallError)) throw error;
        return this.#report(queue, [error.message], member.name);
      }
      queue = queue.filter(({ name }) => name !== member.name);
      if (queue.length === 0) return this.#report([], [], "");
      const next = await this.#calm(queue);
      if (next.wrong.length > 0) return this.#report(queue, next.wrong, "");
      view = next.view;
    }
  }

  /** One member, from its slots to its slots. Throws with the reason when a step is not as it must be. */
  async #replace(member: Candidate, before: View): Promise<Times> {
    const { name, role, isDisabled } = member;
    const { nowMs } = this.#stage;
    const present = before.status.members.find(({ id }) => id === member.id)!;
    const isServing = role === "node" && present.state !== "drained";
    const startedMs = nowMs();
    if (isServing) await this.#drain(member, present.slotsOwned);
    const drainedMs = nowMs();
    await this.#restart(member, present.incarnation);
    const incarnation = await this.#awaitLife(member, present.incarnation);
    const aliveMs = nowMs();
    await this.#checkBuild(member, incarnation);
    await this.#awaitBack(member, incarnation);
    const backMs = nowMs() - aliveMs;
    const what =
      role === "witness" ? "votes again" : isDisabled ? "is back, and stays disabled" : "has its slots back";
    this.#stage.progress(name, `${what}, ${seconds(nowMs() - startedMs)} in all`);
    return { ...(isServing ? { drainMs: drainedMs - startedMs } : {}), awayMs: aliveMs - drainedMs, backMs };
  }

  async #drain(member: Candidate, slots: number): Promise<void> {
    const { stepTimeoutMs } = this.#options;
    const { name } = member;
    this.#stage.progress(name, `hands over ${slots} slots`);
    try {
      const params = { node: name, timeoutMs: stepTimeoutMs };
      await this.#stage.ask("drain", params, { timeoutMs: stepTimeoutMs + ANSWER_MARGIN_MS });
      await this.#until(stepTimeoutMs, member, ({ status }) => {
        const { owner, backup } = status.slots;
        const others = status.members.filter(
          ({ id, role, state }) => id !== member.id && role === "node" && state === "active",
        );
        if (owner.includes(member.id)) return `${name} still owns slots`;
        if (others.length > 1 && backup.includes(member.id))
          return `${name} still holds copies that others are to hold`;
        return status.isSettled ? "" : "the others do not hold proven copies of all flows yet";
      });
    } catch (error) {
      throw await this.#giveBack(member, `${name} could not be drained`, error);
    }
    await this.#until(HAND_OVER_MS_MAX, member, ({ status }) =>
      status.leader === name ? `${name} still leads` : "",
    ).catch(() => undefined);
  }

  async #restart(member: Candidate, incarnation: number): Promise<void> {
    const { id, name, role } = member;
    this.#stage.progress(name, "owns nothing; restarting");
    try {
      await this.#stage.restart({ id, name, role, incarnation });
    } catch (error) {
      if (isSilence(error)) return; // It may have ended before its answer arrived: whether it comes back tells.
      throw await this.#giveBack(member, `${name} could not be restarted`, error);
    }
  }

  /** Waits for a life after `incarnation`, and answers which. */
  async #awaitLife(member: Candidate, incarnation: number): Promise<number> {
    const { name, role } = member;
    let life = 0;
    try {
      await this.#until(this.#options.stepTimeoutMs, member, ({ status }) => {
        const now = status.members.find(({ id }) => id === member.id);
        if (now === undefined || now.incarnation <= incarnation) return "waiting for it to come back";
        life = now.incarnation;
        return now.state === "down" ? "waiting for it to stay" : "";
      });
    } catch (error) {
      const unit = `synwall-${role}`;
      throw stopped(
        `${name} was restarted and did not come back: the others carry all flows, with one member less; see 'journalctl -u ${unit}' on ${name}, start it (${unit}), then run the upgrade again`,
        error,
      );
    }
    return life;
  }

  /** Whether the process of that life is of the build that it should be of. */
  async #checkBuild(member: Candidate, incarnation: number): Promise<void> {
    const { target, stepTimeoutMs } = this.#options;
    let found = { version: "", build: "" };
    await this.#until(stepTimeoutMs, member, (view) => {
      const process = view.processes.find(({ id }) => id === member.id);
      if (process?.isReachable !== true) return "waiting for its answer over the cluster link";
      found = buildOf(view, member.id);
      const life = process.process?.incarnation ?? incarnation;
      return life < incarnation ? "waiting for it to know its life" : "";
    });
    if (runs(found, target)) {
      this.#stage.progress(member.name, `is up with ${nameOf(found)}; its flows come back`);
      return;
    }
    throw stopped(
      `${member.name} came back with ${nameOf(found)} instead of ${nameOf(target)}: that is what is installed there; it serves as before; install the new build on ${member.name}, then run the upgrade again`,
    );
  }

  /** Until it holds what it held, or may not be given anything. */
  async #awaitBack(member: Candidate, incarnation: number): Promise<void> {
    const { name, role, isDisabled } = member;
    try {
      await this.#until(this.#options.stepTimeoutMs, member, ({ status }) => {
        const now = status.members.find(({ id }) => id === member.id);
        const state = now?.state;
        if (now === undefined || now.incarnation < incarnation) return "waiting for news of it";
        const peer = status.peers.find(({ id }) => id === member.id);
        if (status.id !== member.id && peer?.alive !== true) return "waiting for its heartbeats";
        if (role === "witness") return status.leader === "" ? "waiting for a leader" : "";
        if (isDisabled) return state === "drained" ? "" : `it is ${state}`;
        if (state !== "active") return "receiving flows";
        if (!status.isSettled) return "slots move back to it";
        return peer?.sync?.connected === false ? "waiting for replication to it" : "";
      });
    } catch (error) {
      throw stopped(
        `${name} is up and has not all of its slots and copies back: the cluster serves, and to go on would cost flows; see 'synwall status' and 'synwall journal', then run the upgrade again`,
        error,
      );
    }
  }

  /** What was begun is undone, as far as it can be: a node that is not restarted goes on serving. */
  async #giveBack({ name, role }: Candidate, what: string, cause: unknown): Promise<SynwallError> {
    const why = cause instanceof Error ? cause.message : String(cause);
    if (role === "witness") return stopped(`${what}: ${why}`, cause);
    try {
      await this.#stage.ask(
        "rejoin",
        { node: name, timeoutMs: GIVE_BACK_MS_MAX },
        { timeoutMs: GIVE_BACK_MS_MAX + ANSWER_MARGIN_MS },
      );
    } catch {
      return stopped(
        `${what}: ${why}; the others carry its flows: 'synwall rejoin ${name}' gives them back`,
        cause,
      );
    }
    return stopped(`${what}: ${why}; it has its slots again, and serves as before`, cause);
  }

  /** Whether the next one may be touched, given a moment for what the last restart left to die down. */
  async #calm(
    queue: readonly Candidate[],
  ): Promise<{ readonly view: View; readonly wrong: readonly string[] }> {
    const { nowMs, pause } = this.#stage;
    const endMs = nowMs() + CALM_MS_MAX;
    for (;;) {
      const view = nowMs() < endMs ? await this.#lookIfAny() : await this.#look();
      const wrong = view === undefined ? [] : troubles(view, queue, this.#options);
      if (view !== undefined && (wrong.length === 0 || nowMs() >= endMs)) return { view, wrong };
      await pause(ASK_INTERVAL_MS);
    }
  }

  async #look(): Promise<View> {
    const options = { timeoutMs: ASK_MS_MAX };
    const status = await this.#stage.ask("status", {}, options);
    const { members } = await this.#stage.ask("cluster.members", {}, options);
    const { members: processes } = await this.#stage.ask("cluster.processes", {}, options);
    return { status, members, processes };
  }

  /** Asks until nothing is waited for any more. Throws SW_UPGRADE_STOPPED with what was, when time is up. */
  async #until(timeoutMs: number, { name }: Candidate, waitsFor: (view: View) => string): Promise<void> {
    const { nowMs, pause, progress } = this.#stage;
    const endMs = nowMs() + timeoutMs;
    let told = "";
    for (;;) {
      const view = await this.#lookIfAny();
      const waiting = view === undefined ? "nobody answers" : waitsFor(view);
      if (waiting === "") return;
      if (nowMs() >= endMs) throw stopped(`${name}: ${waiting}, after ${seconds(timeoutMs)}`);
      if (waiting !== told) progress(name, waiting);
      told = waiting;
      await pause(ASK_INTERVAL_MS);
    }
  }

  /** The member that is asked may be the one that is restarted: it is silent, or does not know yet what has happened. */
  async #lookIfAny(): Promise<View | undefined> {
    try {
      const view = await this.#look();
      const { commit } = view.status.raft;
      if (commit < this.#commit) return undefined;
      this.#commit = commit;
      return view;
    } catch (error) {
      if (isSilence(error)) return undefined;
      throw error;
    }
  }

  #report(queue: readonly Candidate[], stoppedFor: readonly string[], stoppedAt: string): UpgradeReport {
    const { target, isDryRun } = this.#options;
    const view = this.#first!;
    const members = view.members
      .filter(({ state }) => state !== "expected")
      .map(({ id, name, role }): MemberUpgrade => {
        const times = this.#done.get(name);
        const isWaiting = queue.some((candidate) => candidate.name === name);
        const outcome =
          times !== undefined
            ? "upgraded"
            : name === stoppedAt
              ? "stopped"
              : isWaiting
                ? "waiting"
                : "current";
        const from = nameOf(buildOf(view, id));
        return { name, role, from, to: outcome === "current" ? from : nameOf(target), outcome, ...times };
      });
    return {
      target: { version: target.version, build: target.build },
      isDryRun,
      isDone: queue.length === 0 && stoppedFor.length === 0,
      stopped: stoppedFor,
      members,
      tookMs: this.#stage.nowMs() - this.#startedMs,
    };
  }
}

/** "0.1.0", "0.1.0 (build 3f2a41)". */
export function nameOf({ version, build }: Pick<Target, "version" | "build">): string {
  if (version === "") return "an unknown version";
  return build === "" ? version : `${version} (build ${build})`;
}

function stopped(message: string, cause?: unknown): SynwallError {
  return new SynwallError("SW_UPGRADE_STOPPED", message, {}, cause);
}

function isSilence(error: unknown): boolean {
  return (
    error instanceof SynwallError &&
    (error.code === "SW_ADMIN_UNREACHABLE" || error.code === "SW_CONTROL_TIMEOUT")
  );
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
