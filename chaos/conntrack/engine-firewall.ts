/**
 * Engine firewall: Synwall's engine under the same policy as the kernel (kernel-firewall.ts): inside may open anything, outside
 * may open TCP port 80, no translation. Owns the policy.
 */
import { hashKeyFrom } from "../../src/base/hash.ts";
import type { FlowSnapshot } from "../../src/dataplane/flow-reader.ts";
import {
  ACTION_ACCEPT,
  COMMIT_DEFAULT,
  type PolicyModel,
  type RuleModel,
} from "../../src/dataplane/policy-model.ts";
import { VERDICT_FORWARDED, verdictName } from "../../src/dataplane/verdict.ts";
import { SingleWorld } from "../../src/node/replay/single-world.ts";
import { parseAddress } from "../../src/policy/address.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../src/policy/timeouts.ts";
import type { Firewall } from "./firewall.ts";

const INSIDE = 0;
const OUTSIDE = 1;
const SLOTS = 64;
const START_MS = 1000;
const MTU_BYTES = 1500;

function address(text: string): number {
  return parseAddress(text) as number;
}

function rule(id: number, part: Partial<RuleModel>): RuleModel {
  return {
    id,
    name: `rule-${id}`,
    fromZone: INSIDE,
    toZone: OUTSIDE,
    sources: [],
    destinations: [],
    protocol: -1,
    sourcePorts: [],
    destinationPorts: [],
    icmpType: -1,
    icmpCode: -1,
    action: ACTION_ACCEPT,
    commit: COMMIT_DEFAULT,
    log: false,
    ...part,
  };
}

const POLICY: PolicyModel = {
  zones: [
    {
      id: INSIDE,
      name: "inside",
      trust: 100,
      gateway: address("10.20.0.1"),
      prefix: { address: address("10.20.0.0"), bits: 16 },
      ports: [0],
    },
    {
      id: OUTSIDE,
      name: "outside",
      trust: 0,
      gateway: address("10.30.0.1"),
      prefix: { address: address("10.30.0.0"), bits: 16 },
      ports: [1],
    },
  ],
  routes: [],
  snat: [],
  dnat: [],
  rules: [
    rule(0, {}),
    rule(1, { fromZone: OUTSIDE, toZone: INSIDE, protocol: 6, destinationPorts: [{ from: 80, to: 80 }] }),
  ],
  affinity: "source",
  timeoutsMs: DEFAULT_TIMEOUTS_MS,
  syncDeadlineMs: 5,
  answered: [],
};

export class EngineFirewall implements Firewall {
  /** What the engine called the last packet. */
  lastVerdict = "";
  readonly #world: SingleWorld;

  constructor(flowsMax: number) {
    this.#world = new SingleWorld({
      policy: POLICY,
      slots: SLOTS,
      key: hashKeyFrom(new Uint8Array(32).fill(3)),
      flowsMax,
      mtuBytes: MTU_BYTES,
    });
    this.#world.tick(START_MS);
  }

  send(isFromInside: boolean, packet: Uint8Array): boolean {
    const { verdict } = this.#world.process(isFromInside ? INSIDE : OUTSIDE, packet);
    this.lastVerdict = verdictName(verdict);
    return verdict === VERDICT_FORWARDED;
  }

  stateOf(text: string): string {
    const { flows } = this.#world.flows.list({ source: address(text) }, 10);
    return flows.map((flow: FlowSnapshot) => `${flow.protocol} ${flow.state} ${flow.original.source.port}`).join(" | ");
  }

  close(): void {}
}
