/**
 * Silent links: whose fault it is that a node and the others do not hear each other on a zone's wire, although it has a carrier. Pure:
 * what each of them hears in, a verdict out; in doubt nobody is to blame. Owns no port and no clock (link-watch.ts).
 *
 *   deaf   we hear nobody at all there; one of the others hears a third node, or hosts, and hosts did not answer us
 *   mute   we hear another node there, and it hears a third node or hosts; none of the others hears us
 */
import type { LinkHearing } from "../../cluster/liveness/model.ts";

/** `hasAsked`: hosts that were there before, whether they are there. `peers`: of every active node that answered and has a carrier there. */
export function isOurFault(
  self: number,
  ours: LinkHearing,
  hasAsked: boolean,
  peers: ReadonlyMap<number, LinkHearing>,
): boolean {
  const all = [...peers];
  const hearsThird = ({ nodes }: LinkHearing): boolean => nodes.some((node) => node !== self);
  if (ours.nodes.length === 0 && !ours.hasOthers) {
    return all.some(([, theirs]) => hearsThird(theirs) || (hasAsked && theirs.hasOthers));
  }
  if (all.some(([, { nodes }]) => nodes.includes(self))) return false;
  return all.some(([node, theirs]) => ours.nodes.includes(node) && (theirs.hasOthers || hearsThird(theirs)));
}
