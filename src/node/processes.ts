/**
 * Processes: which build each member runs and what it can speak, and how a member is started anew from afar. Asks peers when
 * somebody wants to know. A member ends itself only when that costs nothing: when it owns no slot, and when whoever started it
 * starts it again.
 */
import type { ClusterState } from "../../cluster/control/model.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { RecordFormat } from "../../cluster/sync/wire-format.ts";
import type { PeerReport, ProcessReport, Transport } from "../../cluster/transport/transport.ts";
import type { MemberConfig } from "../../config/node-config.ts";
import { BUILD, VERSION } from "../../config/version.ts";
import { SynwallError } from "../base/errors.ts";
import type { MemberProcess } from "./admin-model.ts";
import type { Journal } from "./journal.ts";
import { speechOf } from "./upgrade/this-build.ts";

/** A peer answers within milliseconds, one that begins to stop a little later. */
const ASK_MS_MAX = 1000;
/** Until then the answer has left. */
const END_AFTER_MS = 100;

/** How a process is started anew. */
export interface RestartWay {
  /** Whoever started it starts it again when it ends with the status for that. */
  readonly isSupervised: boolean;
  /** Stops in order and ends the process with that status. */
  readonly end: () => void;
}

export interface ProcessesOptions {
  readonly self: MemberConfig;
  readonly transport: Pick<Transport, "status" | "restart">;
  readonly timers: Pick<Timers, "after">;
  readonly journal: Pick<Journal, "add">;
  /** Of the records that are spoken; empty for a witness. */
  readonly recordFormats: readonly RecordFormat[];
  /** Absent: nobody starts it again. */
  readonly restart?: RestartWay | undefined;
  readonly state: () => ClusterState;
  /** This process' own life; 0 before it was let in. */
  readonly incarnation: () => number;
  readonly peers: () => readonly MemberConfig[];
}

export class Processes {
  readonly #options: ProcessesOptions;
  #isEnding = false;

  constructor(options: ProcessesOptions) {
    this.#options = options;
  }

  /** What this process tells about itself. */
  own(): ProcessReport {
    const { recordFormats, restart, incarnation } = this.#options;
    return {
      build: BUILD,
      ...speechOf(recordFormats),
      incarnation: incarnation(),
      isSupervised: restart?.isSupervised ?? false,
    };
  }

  /** This one and all peers, by id; those that do not answer have no version. */
  async list(): Promise<MemberProcess[]> {
    const { self, transport, peers } = this.#options;
    const all = await Promise.all(
      peers().map(async (peer) => {
        try {
          return viewOf(peer, await transport.status(peer.id, ASK_MS_MAX));
        } catch (error) {
          if (!(error instanceof SynwallError)) throw error;
          return viewOf(peer, undefined);
        }
      }),
    );
    all.push(viewOf(self, { version: VERSION, process: this.own() }));
    return all.sort((a, b) => a.id - b.id);
  }

  /** Ends this process, to be started again. Answers why not, or "". */
  restart(incarnation: number): string {
    const why = this.#refusal(incarnation);
    if (why !== "" || this.#isEnding) return why;
    const { self, journal, timers, restart } = this.#options;
    this.#isEnding = true;
    journal.add("restart", `${self.name} ends itself to be started again: it was asked to`, {
      node: self.id,
    });
    timers.after(END_AFTER_MS, () => restart!.end());
    return "";
  }

  /** The same for any member. Throws SW_CONTROL_REFUSED, SW_CONTROL_TIMEOUT when it does not answer. */
  async restartMember(id: number, incarnation: number): Promise<void> {
    const { self, transport } = this.#options;
    const why =
      id === self.id ? this.restart(incarnation) : await transport.restart(id, incarnation, ASK_MS_MAX);
    if (why !== "") throw new SynwallError("SW_CONTROL_REFUSED", why);
  }

  #refusal(incarnation: number): string {
    const { self, restart, state, incarnation: own } = this.#options;
    if (incarnation !== own()) return `${self.name} is in life ${own()}, not ${incarnation}`;
    if (restart?.isSupervised !== true) {
      return `${self.name} was not started by anybody who starts it again: say how with --restart-command`;
    }
    const { table, members } = state();
    const owned = table.owner.filter((owner) => owner === self.id).length;
    if (owned > 0) return `${self.name} owns ${owned} slots: drain it first`;
    const awaited = table.awaiting.filter((nodes) => nodes.includes(self.id)).length;
    if (awaited > 0) return `${self.name} may still decide flows of ${awaited} slots that it lost`;
    const isEmpty = self.role === "witness" || isOutOfTheWay(members.find(({ id }) => id === self.id)?.state);
    return isEmpty ? "" : `${self.name} may be given slots at any moment: drain it first`;
  }
}

function isOutOfTheWay(state: string | undefined): boolean {
  return state === "drained" || state === "down" || state === undefined;
}

function viewOf(
  { id, name, role }: MemberConfig,
  report: Pick<PeerReport, "version" | "process"> | undefined,
): MemberProcess {
  if (report === undefined) return { id, name, role, isReachable: false };
  const { version, process } = report;
  return {
    id,
    name,
    role,
    isReachable: true,
    version,
    ...(process === undefined
      ? {}
      : { process: { ...process, recordVersions: [...process.recordVersions] } }),
  };
}
