/**
 * In order: what one thread says to another takes a moment, and nothing overtakes what was said before, as with a MessagePort. Owns the
 * order alone: it holds whatever the clocks make of the moments.
 */

/** `schedule` calls back after a delay of its own; whichever callback comes first brings what was said first. */
export function inOrder(schedule: (work: () => void) => void): (work: () => void) => void {
  const said: (() => void)[] = [];
  return (work) => {
    said.push(work);
    schedule(() => said.shift()!());
  };
}
