/**
 * Peer list: who the other members are, as the committed state says, while the process runs. Begins with those of the
 * configuration, so that a log can be caught up with; tells what changed. Owns no connection.
 *
 * A member that joins is told who belongs to the cluster, and gets a log that may begin before that: whoever another one has
 * replaced since then, as a higher id of the same name tells, is no peer. Else the two would be taken for each other.
 */
import type { ClusterState } from "../../cluster/control/model.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { MemberConfig } from "../../config/node-config.ts";

/** A removed member must hear that it was removed, or it would knock for ever. */
const FAREWELL_MS = 2000;

export interface PeerListOptions {
  readonly self: number;
  readonly configured: readonly MemberConfig[];
  readonly timers: Pick<Timers, "after">;
  /** All of them, after each change; `present`: those that belong to the cluster. */
  readonly onChange: (peers: readonly MemberConfig[], present: readonly MemberConfig[]) => void;
}

export class PeerList {
  readonly #options: PeerListOptions;
  readonly #peers = new Map<number, MemberConfig>();
  readonly #leaving = new Set<number>();
  readonly #selfName: string | undefined;
  #seen: ClusterState["members"] | undefined;

  constructor(options: PeerListOptions) {
    this.#options = options;
    for (const member of options.configured)
      if (member.id !== options.self) this.#peers.set(member.id, member);
      else this.#selfName = member.name;
  }

  /** Whom to be connected with: also who was removed, as long as it may not have heard of it. */
  all(): readonly MemberConfig[] {
    return [...this.#peers.values()];
  }

  /** Who belongs to the cluster: of a name and an address there is one, also when another one has just taken its place. */
  present(): readonly MemberConfig[] {
    return this.all().filter(({ id }) => !this.#leaving.has(id));
  }

  find(id: number): MemberConfig | undefined {
    return this.#peers.get(id);
  }

  /** The committed state, after each applied entry. */
  observe({ members }: Pick<ClusterState, "members">): void {
    if (members === this.#seen) return;
    this.#seen = members;
    let isChanged = false;
    for (const { id, name, role, address, weight, state } of members) {
      if (id === this.#options.self) continue;
      if (state === "removed") {
        this.#letGo(id);
        continue;
      }
      if (this.#isReplaced(id, name)) continue;
      const known = this.#peers.get(id);
      if (known?.name === name && known.address === address && known.role === role) continue;
      this.#peers.set(id, { id, name, role, address, weight });
      isChanged = true;
    }
    if (isChanged) this.#tell();
  }

  #isReplaced(id: number, name: string): boolean {
    if (name === this.#selfName && id < this.#options.self) return true;
    return this.all().some((peer) => peer.name === name && peer.id > id);
  }

  #letGo(id: number): void {
    if (!this.#peers.has(id) || this.#leaving.has(id)) return;
    this.#leaving.add(id);
    this.#options.timers.after(FAREWELL_MS, () => {
      this.#leaving.delete(id);
      if (this.#peers.delete(id)) this.#tell();
    });
  }

  #tell(): void {
    this.#options.onChange(this.all(), this.present());
  }
}
