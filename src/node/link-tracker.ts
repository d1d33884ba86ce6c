/**
 * Link tracker: the rule by which a node gives up its slots when a zone's wire is gone, and takes part again. Pure: facts in, at
 * most one command out; asked again until nothing is left to do. Owns no port and no clock (link-watch.ts).
 *
 *   taking part --a zone link lost its carrier, and an active node has all that we have and more--> draining, drained
 *        ^                                                                                              |
 *        '---------------- all carriers are back, or no active node has more any more -----------------'
 *
 * So when all nodes lost the same link, nobody gives up, and of two that lost different links neither does: the slots of a zone
 * without a wire are nowhere better off. A drain that an operator asked for is never ended here, nor is one of a node that was
 * disabled meanwhile: it is the operator's then.
 */
import type { Command, Member } from "../../cluster/control/model.ts";

export interface LinkFacts {
  readonly selfId: number;
  readonly members: readonly Member[];
  /** Zone links of this node without a carrier, by number: they mean the same on all nodes. */
  readonly lost: ReadonlySet<number>;
  /** The same of other nodes; one that did not answer is absent. */
  readonly lostByPeer: ReadonlyMap<number, ReadonlySet<number>>;
}

export type LinkCommand = Extract<Command, { type: "setState" }>;

export class LinkTracker {
  /** This process asked for the drain that is, or may be, going on. */
  #hasGivenUp = false;

  get hasGivenUp(): boolean {
    return this.#hasGivenUp;
  }

  /** What is to be proposed now. Ask again when it was decided, or later when nobody decided. */
  next(facts: LinkFacts): LinkCommand | undefined {
    const { selfId: node, lost } = facts;
    const { state, isDisabled = false } = facts.members.find((member) => member.id === node) ?? {};
    if (state !== "draining" && state !== "drained") {
      // Taking part again, by whomever: what comes next is decided anew.
      this.#hasGivenUp = (state === "active" || state === "joining") && mustGiveUp(facts);
      return this.#hasGivenUp ? { type: "setState", node, state: "draining" } : undefined;
    }
    if (isDisabled) this.#hasGivenUp = false;
    if (!this.#hasGivenUp || (lost.size > 0 && mayStayAway(facts))) return undefined;
    return { type: "setState", node, state: state === "draining" ? "active" : "joining" };
  }

  /** The cluster refused to let this node give up. */
  refused(): void {
    this.#hasGivenUp = false;
  }
}

function mustGiveUp(facts: LinkFacts): boolean {
  return facts.lost.size > 0 && others(facts).some((lost) => lost !== undefined && hasMore(lost, facts.lost));
}

/** Silence is no reason to come back: the node that took our slots may only be slow to answer. */
function mayStayAway(facts: LinkFacts): boolean {
  return others(facts).some((lost) => lost === undefined || hasMore(lost, facts.lost));
}

/** Lost links of each other active node. */
function others({ selfId, members, lostByPeer }: LinkFacts): (ReadonlySet<number> | undefined)[] {
  return members
    .filter((member) => member.id !== selfId && member.role === "node" && member.state === "active")
    .map((member) => lostByPeer.get(member.id));
}

/** Whether who lost `lost` has every link that we have, and one more. */
function hasMore(lost: ReadonlySet<number>, ours: ReadonlySet<number>): boolean {
  return lost.size < ours.size && [...lost].every((link) => ours.has(link));
}
