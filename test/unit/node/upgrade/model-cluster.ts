/**
 * A cluster as an upgrade sees it: answers to what it asks, and nothing behind them. Time passes when it waits.
 */
import { STATE_VERSION } from "../../../../cluster/control/codec.ts";
import type { ProcessReport } from "../../../../cluster/transport/transport.ts";
import { SynwallError } from "../../../../src/base/errors.ts";
import type {
  MemberProcess,
  MemberView,
  PeerStatus,
  StatusReport,
} from "../../../../src/node/admin-model.ts";
import type { Target, View, Wishes } from "../../../../src/node/upgrade/preflight.ts";
import {
  type UpgradeOptions,
  type UpgradeReport,
  type UpgradeStage,
  upgrade,
} from "../../../../src/node/upgrade/upgrade.ts";
import { PAIR } from "../../cli/admin.ts";

export const SPEECH = {
  recordVersions: [1],
  syncVersion: 1,
  commandVersion: STATE_VERSION,
  heartbeatVersion: 1,
} as const;
export const TARGET: Target = {
  version: "0.2.0",
  build: "bbbbbb",
  speech: { ...SPEECH, recordVersions: [1, 2] },
};
export const WISHES: Wishes = {
  target: TARGET,
  only: [],
  isAll: false,
  mayLoseMajority: false,
  needsSupervisor: true,
};

export interface ModelMember {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  state: string;
  incarnation: number;
  version: string;
  build: string;
  isDisabled: boolean;
  isHeard: boolean;
  isReachable: boolean;
  process: ProcessReport | undefined;
}

export class ModelCluster {
  nowMs = 0;
  leader: string;
  isSettled = true;
  isUnwitnessed = false;
  isPair = false;
  sync: Partial<NonNullable<PeerStatus["sync"]>> = {};
  readonly members: ModelMember[];
  readonly said: string[] = [];
  /** What was done to members, in order. */
  readonly done: string[] = [];
  /** What is installed on each member. */
  installed: (name: string) => { readonly version: string; readonly build: string } = () => TARGET;
  onRestart: (member: ModelMember) => void = () => undefined;
  onDrain: (member: ModelMember) => void = () => undefined;
  onPause: () => void = () => undefined;

  constructor(nodes = 2, leader = "fw1") {
    const names = [...Array.from({ length: nodes }, (_, i) => `fw${i + 1}`), "witness"];
    this.leader = leader;
    this.members = names.map((name, i) => ({
      id: i + 1,
      name,
      role: name === "witness" ? "witness" : "node",
      state: "active",
      incarnation: 1,
      version: "0.1.0",
      build: "aaaaaa",
      isDisabled: false,
      isHeard: true,
      isReachable: true,
      process: { ...SPEECH, build: "aaaaaa", incarnation: 1, isSupervised: true },
    }));
  }

  member(name: string): ModelMember {
    return this.members.find((each) => each.name === name)!;
  }

  view(): View {
    return { status: this.#status(), members: this.#views(), processes: this.#processes() };
  }

  run(options: Partial<UpgradeOptions> = {}): Promise<UpgradeReport> {
    return upgrade(this.#stage(), { ...WISHES, isDryRun: false, stepTimeoutMs: 60_000, ...options });
  }

  #stage(): UpgradeStage {
    const answers: Record<string, (params: never) => unknown> = {
      status: () => this.#status(),
      "cluster.members": () => ({ members: this.#views() }),
      "cluster.processes": () => ({ members: this.#processes() }),
      drain: ({ node }: { node: string }) => this.#drain(this.member(node)),
      rejoin: ({ node }: { node: string }) => {
        this.done.push(`rejoin ${node}`);
        this.member(node).state = "active";
        return { epoch: 1 };
      },
    };
    return {
      ask: async (method, params) => answers[method]!(params as never) as never,
      restart: async ({ name, incarnation }) => {
        const member = this.member(name);
        this.done.push(`restart ${name} ${incarnation}`);
        const { version, build } = this.installed(name);
        const next = member.incarnation + 1;
        const process = {
          ...(member.process ?? { ...SPEECH, isSupervised: true }),
          build,
          incarnation: next,
        };
        const state = member.isDisabled ? "drained" : "active";
        Object.assign(member, { version, build, incarnation: next, process, state });
        if (this.leader === name) this.leader = this.members.find((each) => each !== member)!.name;
        this.onRestart(member);
      },
      nowMs: () => this.nowMs,
      pause: async (ms) => {
        this.nowMs += ms;
        this.onPause();
      },
      progress: (member, text) => void this.said.push(`${member}: ${text}`),
    };
  }

  #drain(member: ModelMember): unknown {
    this.done.push(`drain ${member.name}`);
    member.state = "drained";
    if (this.leader === member.name) {
      this.leader = this.members.find((each) => each.role === "node" && each !== member)!.name;
    }
    this.onDrain(member);
    return { epoch: 2 };
  }

  #serving(): ModelMember[] {
    return this.members.filter(({ role, state }) => role === "node" && state === "active");
  }

  #status(): StatusReport {
    const serving = this.#serving();
    const at = (s: number): number => serving[s % serving.length]?.id ?? 0;
    const slots = Array.from({ length: 12 }, (_, s) => s);
    const asked = this.members[0]!;
    return {
      ...PAIR,
      node: asked.name,
      id: asked.id,
      leader: this.leader,
      isSettled: this.isSettled,
      isUnwitnessed: this.isUnwitnessed,
      ...(this.isPair ? { pair: { isAlone: false, isHeld: false, isWaiting: false, why: "heard" } } : {}),
      members: this.members.map(({ id, name, role, state, incarnation }) => ({
        ...{ id, name, role, state, incarnation, slotsBackedUp: 0 },
        slotsOwned: slots.filter((s) => at(s) === id).length,
      })),
      peers: this.members.slice(1).map(({ id, name, role, state, isHeard }) => ({
        ...{ id, name, role, state, alive: isHeard, links: { cluster: isHeard } },
        ...(role === "witness" ? {} : { sync: { ...PAIR.peers[0]!.sync!, ...this.sync } }),
      })),
      slots: { owner: slots.map(at), backup: slots.map((s) => at(s + 1)), synced: slots.map(() => true) },
      alerts: [],
    };
  }

  #views(): MemberView[] {
    return this.members.map(({ id, name, role, state, isDisabled }) => ({
      ...{ id, name, role, state, isDisabled },
      ...{ address: `192.0.2.${id}`, weight: role === "node" ? 1 : 0, votes: true },
    }));
  }

  #processes(): MemberProcess[] {
    return this.members.map(({ id, name, role, isReachable, version, process }) =>
      isReachable
        ? { id, name, role, isReachable, version, ...(process === undefined ? {} : { process }) }
        : { id, name, role, isReachable },
    );
  }
}

/** Fails as a member does that refuses. */
export function refuse(message: string): never {
  throw new SynwallError("SW_CONTROL_REFUSED", message);
}
