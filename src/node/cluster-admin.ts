/**
 * Cluster admin: what an operator may ask about members, the same on nodes and witnesses. Owns refusals in words; the rules are
 * cluster/control's.
 */

import type { ClusterState, Member } from "../../cluster/control/model.ts";
import { membersOf, quorumOf } from "../../cluster/control/quorum.ts";
import { whyNoName } from "../../config/check.ts";
import { SynwallError } from "../base/errors.ts";
import type { AdminHandlers } from "./admin-server.ts";
import type { Certificates } from "./certificates.ts";
import type { Controller } from "./controller.ts";
import type { Processes } from "./processes.ts";
import type { Registration } from "./registration.ts";

/** The longest that an operator waits for a drain, unless told. */
export const DRAIN_MS_MAX = 60_000;
/** Events that one answer holds. */
export const EVENTS_MAX = 4096;
const WAIT_MS_MAX = 60_000;
const TOKEN_MS = 3_600_000;
const TOKEN_MS_MAX = 7 * 86_400_000;

export interface ClusterAdminParts {
  readonly controller: Controller;
  readonly founders: readonly number[];
  readonly processes: Processes;
  readonly certificates?: Certificates;
  readonly registration: () => Registration | undefined;
}

type ClusterMethod = Extract<keyof AdminHandlers, `cluster.${string}`>;

export function clusterHandlers(parts: ClusterAdminParts): Pick<AdminHandlers, ClusterMethod> {
  const { controller, founders, processes, certificates, registration } = parts;
  return {
    "cluster.members": () => {
      const state = controller.driver.state();
      const { voters, outgoing } = quorumOf(state, founders);
      const { confState } = controller.driver.status();
      // While voters change, and Raft's own follow, all of these sets have to agree.
      const voting = new Set([voters, outgoing, confState.voters, confState.votersOutgoing].flat());
      const present = membersOf(state, founders);
      return {
        members: state.members
          .filter(({ id }) => present.includes(id))
          .map(({ id, name, role, address, weight, state: is, isDisabled, incarnation }) => ({
            id,
            name,
            role,
            address,
            weight,
            state: incarnation === 0 ? "expected" : is,
            isDisabled: isDisabled === true,
            votes: voting.has(id),
          })),
      };
    },
    "cluster.processes": async () => ({ members: await processes.list() }),
    "cluster.restart": async ({ node, incarnation }) => {
      await processes.restartMember(memberNamed(controller, node).id, incarnation);
      return {};
    },
    "cluster.token": async ({ role, name, weight, ttlMs = TOKEN_MS }) => {
      const office = registration();
      if (office === undefined) {
        throw new SynwallError(
          "SW_CONTROL_REFUSED",
          "this member does not have the CA's key (cluster.tls.caKey): ask one that has it",
        );
      }
      if (ttlMs <= 0 || ttlMs > TOKEN_MS_MAX) {
        throw new SynwallError("SW_ADMIN_BAD_REQUEST", "a token lives at most 7 days");
      }
      const unfit = name === undefined ? undefined : whyNoName(name);
      if (unfit !== undefined) throw new SynwallError("SW_ADMIN_BAD_REQUEST", unfit);
      return office.issueToken({
        role: role === "witness" ? "witness" : "node",
        weight: weight ?? 1,
        ttlMs,
        ...(name === undefined ? {} : { name }),
      });
    },
    "cluster.disable": async ({ node, timeoutMs }) => {
      const { id } = memberNamed(controller, node);
      await controller.command({ type: "enable", node: id, isEnabled: false });
      return { epoch: await untilEmpty(controller, id, node, timeoutMs) };
    },
    "cluster.enable": async ({ node }) => {
      await controller.command({ type: "enable", node: memberNamed(controller, node).id, isEnabled: true });
      return { epoch: controller.driver.state().table.epoch };
    },
    "cluster.weight": async ({ node, weight }) => {
      await controller.command({ type: "weight", node: memberNamed(controller, node).id, weight });
      return { epoch: controller.driver.state().table.epoch };
    },
    "cluster.remove": async ({ node, timeoutMs }) => {
      const member = memberNamed(controller, node);
      if (member.role === "node" && member.state !== "down") {
        await controller.command({ type: "enable", node: member.id, isEnabled: false });
      }
      await untilDispensable(controller, member, timeoutMs);
      await controller.command({ type: "setState", node: member.id, state: "removed" });
      return { id: member.id, epoch: controller.driver.state().table.epoch };
    },
    "cluster.rotate": async ({ isReload }) => {
      if (certificates === undefined) {
        throw new SynwallError("SW_ADMIN_BAD_REQUEST", "this member has no certificates of its own");
      }
      return isReload === true ? certificates.reload() : certificates.rotate();
    },
  };
}

function untilEmpty(
  controller: Controller,
  id: number,
  name: string,
  timeoutMs = WAIT_MS_MAX,
): Promise<number> {
  return controller.until(`${name} to own nothing`, timeoutMs, (state) => isEmpty(state, id));
}

/** Whoever is removed ends at once: it must not take the vote along without which the others decide nothing. */
function untilDispensable(
  controller: Controller,
  { id, name, role }: Member,
  timeoutMs = WAIT_MS_MAX,
): Promise<number> {
  return controller.until(
    `${name} to own nothing, and the others to have a majority without its vote`,
    timeoutMs,
    (state) => (role === "witness" || isEmpty(state, id)) && controller.quorum.canSpare(id),
  );
}

function isEmpty({ members }: ClusterState, id: number): boolean {
  const state = members.find((member) => member.id === id)?.state;
  return state === "drained" || state === "down" || state === "removed";
}

function memberNamed(controller: Controller, name: string): Member {
  const members = controller.driver.state().members.filter(({ state }) => state !== "removed");
  const member = members.find((candidate) => candidate.name === name);
  if (member !== undefined) return member;
  throw new SynwallError(
    "SW_ADMIN_BAD_REQUEST",
    `no member "${name}" in this cluster: use one of ${members.map((each) => each.name).join(", ")}`,
  );
}
