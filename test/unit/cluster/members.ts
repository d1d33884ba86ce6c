/**
 * Members as the replicated state has them, for tests.
 */
import type { Member } from "../../../cluster/control/model.ts";

/** An active node in its first life. */
export function nodeMember(id: number, change: Partial<Member> = {}): Member {
  return {
    id,
    name: `fw${id}`,
    role: "node",
    address: "",
    weight: 1,
    state: "active",
    incarnation: 1,
    ...change,
  };
}
