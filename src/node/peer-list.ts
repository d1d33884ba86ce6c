/**
 * Peer list: who the other members are, as the committed state says, while the process runs. Begins with those of the
 * configuration, so that a log can be caught up with; tells what changed. Owns no connection.
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
  /** All of them, after each change. */
  readonly onChange: (peers: readonly MemberConfig[]) => void;
}

export class PeerList {
  readonly #options: PeerListOptions;
  readonly #peers = new Map<number, MemberConfig>();
  readonly #leaving = new Set<number>();
  #seen: ClusterState["members"] | undefined;

  constructor(options: PeerListOptions) {
    this.#options = options;
    for (const member of options.configured)
      if (member.id !== options.self) this.#peers.set(member.id, member);
  }

  all(): readonly MemberConfig[] {
    return [...this.#peers.values()];
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
      const known = this.#peers.get(id);
      if (known?.name === name && known.address === address && known.role === role) continue;
      this.#peers.set(id, { id, name, role, address, weight });
      isChanged = true;
    }
    if (isChanged) this.#options.onChange(this.all());
  }

  #letGo(id: number): void {
    const { timers, onChange } = this.#options;
    if (!this.#peers.has(id) || this.#leaving.has(id)) return;
    this.#leaving.add(id);
    timers.after(FAREWELL_MS, () => {
      this.#leaving.delete(id);
      if (this.#peers.delete(id)) onChange(this.all());
    });
  }
}
