/**
 * Stage: what a drill stands on: a lab of processes (lab-stage.ts) or a simulated cluster (chaos/sim/cluster/stage.ts). Owns the
 * few words in which a drill asks, breaks, mends and waits; scenarios and judgement know nothing else of where they run.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { AdminMethod, AdminMethods, StatusReport } from "../../src/node/admin-model.ts";
import type { MemberThread } from "../lab/hang.ts";
import type { Harm } from "../lab/harm.ts";
import { SETTLE_TIMEOUT_MS, type SettleOptions } from "../lab/settling.ts";
import type { LabMember, Link } from "../lab/topology.ts";
import type { TrafficPlan, TrafficReport } from "../traffic/traffic.ts";
import type { MemberEvent } from "./model.ts";

export interface Stage {
  readonly members: readonly LabMember[];
  readonly profile: "lan" | "vm";
  /** `quorum: pair`. */
  readonly isPair: boolean;
  /** Events are stamped this exactly: shorter overlaps prove nothing. */
  readonly stampToleranceMs: number;
  readonly abort?: AbortSignal | undefined;
  /** One line for the operator. */
  progress(line: string): void;
  nowMs(): number;
  /** Since 1970. */
  wallMs(): number;
  pause(ms: number): Promise<void>;
  every(ms: number, callback: () => void): () => void;
  /** Asks a member's admin socket. Throws SW_ADMIN_UNREACHABLE. */
  ask<Method extends AdminMethod>(
    member: string,
    method: Method,
    params: AdminMethods[Method]["params"],
    options?: { readonly timeoutMs?: number },
  ): Promise<AdminMethods[Method]["result"]>;
  /** Waits until all members say that the cluster is settled; answers what was still waited for when time was up, or "". */
  trySettled(options?: SettleOptions): Promise<string>;
  isRunning(member: string): boolean;
  /** Ends the process at once, as a crash does. Answers when. */
  kill(member: string): Promise<number>;
  /** Ends the process at once and takes away all that its disk held. Answers when it ended. */
  loseDisk(member: string): Promise<number>;
  /** Starts a member that does not run; one that lost its disk joins before, and has another id then. Answers when. */
  start(member: string): Promise<number>;
  /** Ends the process in order, as an operator does, and starts another one. Answers when. */
  restart(member: string): Promise<number>;
  /** Cuts a member off all links; carriers stay. Answers when. */
  cutAll(member: string): Promise<number>;
  /** Cuts a member off one link; its carrier stays. Answers when. */
  cut(member: string, link: Link): Promise<number>;
  /** Takes a link's carrier away, or gives it back. Answers when. */
  setCarrier(member: string, link: Link, isUp: boolean): Promise<number>;
  /** Harms a member's wire to a link, or all its wires, until heal(). Answers when. */
  harm(member: string, link: Link | "all", harm: Harm): Promise<number>;
  /** All to and from a member with one wire takes so much longer, each way, until heal(). Answers the round trip that was measured. */
  setDistance(member: string, oneWayMs: number): Promise<number>;
  /** The process stands still for `ms`, as in a suspended machine. Answers when it began, after it ended. */
  pauseMember(member: string, ms: number): Promise<number>;
  /** One thread of the process stands still for `ms`, or until the process ends. Answers when it began, after it ended. */
  hangThread(member: string, thread: MemberThread, ms: number): Promise<number>;
  /** One more node joins the cluster. Answers its name, and when it was started. */
  join(): Promise<{ readonly name: string; readonly atMs: number }>;
  /** A member is taken out of the cluster for good. Answers when. */
  leave(member: string): Promise<number>;
  /** Puts the data folder of a member that does not run on a disk that fillDisk() uses up, until freeDisk(). */
  shrinkDisk(member: string): Promise<void>;
  /**
   * Nothing is free on the disk under a running member's data folder, until freeDisk(). Its log finds the room that it has reserved,
   * unless the disk is one of shrinkDisk(). Answers when.
   */
  fillDisk(member: string): Promise<number>;
  freeDisk(member: string): Promise<void>;
  /** What the process of a member that ended by itself said last; empty when it said nothing. */
  lastWords(member: string): string;
  /** Sets a member's time of day, by so much off everybody else's. Answers when. */
  setClock(member: string, offsetMs: number): number;
  /** Damages the log of a member that does not run. */
  damageLog(member: string): DamagedLog;
  /** Spoofed SYNs from outside, as many as the machine can send, until it is ended. */
  flood(): Promise<{ end(): Promise<void> }>;
  /** Mends every wire. */
  heal(): Promise<void>;
  /** Answers when every stream stands. */
  startTraffic(plan: Omit<TrafficPlan, "lab">): Promise<RunningTraffic>;
}

export interface DamagedLog {
  /** Starts the member and answers what it said when it ended. Throws SW_DRILL_FAILED when it runs on. */
  startRefused(member: string): Promise<string>;
  repair(): void;
}

export interface RunningTraffic {
  /** Lets the traffic come to its end and answers what it saw. */
  end(): Promise<TrafficReport>;
  /** Ends everything at once. */
  kill(): void;
}

const STATUS_TIMEOUT_MS = 2_000;

/** A member's status; undefined when it does not answer. */
export async function statusOn(stage: Stage, member: string): Promise<StatusReport | undefined> {
  try {
    return await stage.ask(member, "status", {}, { timeoutMs: STATUS_TIMEOUT_MS });
  } catch {
    return undefined; // Not up, paused or stopping: all the same to who waits for it.
  }
}

/** What a member noted since `sinceMs`; nothing when it is dead: its journal died with it. */
export async function journalOn(stage: Stage, member: string, sinceMs: number): Promise<MemberEvent[]> {
  try {
    const { events } = await stage.ask(member, "journal", { sinceMs });
    return events.map((event, order) => ({ ...event, member, order }));
  } catch {
    return [];
  }
}

/** Waits until the cluster is settled. Throws SW_LAB_FAILED when a member dies or time is up. */
export async function waitSettledOn(stage: Stage, options: SettleOptions = {}): Promise<void> {
  const waitingFor = await stage.trySettled(options);
  if (waitingFor === "") return;
  const timeoutMs = options.timeoutMs ?? SETTLE_TIMEOUT_MS;
  throw new SynwallError("SW_LAB_FAILED", `not settled after ${timeoutMs / 1000} s: ${waitingFor}`);
}

/** Names of the stage's nodes. */
export function nodesOf(stage: Stage): string[] {
  return stage.members.filter(({ role }) => role === "node").map(({ name }) => name);
}
