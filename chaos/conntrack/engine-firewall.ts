/**
 * Engine firewall: Synwall's engine under the same policy as the kernel (kernel-firewall.ts): inside may open anything, outside
 * may open TCP port 80, no translation. Owns the policy.
 */
import { hashKeyFrom } from "../../src/base/hash.ts";
import {
  F_DESTINATION,
  F_META,
  F_SOURCE,
  F_WINDOW,
  FLAG_USED,
  ROW_WORDS,
  W_ACK,
  W_END,
  W_LIMIT,
  W_MAX,
  WINDOW_WORDS,
} from "../../src/dataplane/flow-layout.ts";
import type { FlowSnapshot } from "../../src/dataplane/flow-reader.ts";
import {
  ACTION_ACCEPT,
  COMMIT_DEFAULT,
  type PolicyModel,
  type RuleModel,
} from "../../src/dataplane/policy-model.ts";
import { isNoted, isSideSeen, TCP_STATE_NAMES, tcpState } from "../../src/dataplane/tcp-state.ts";
import { VERDICT_FORWARDED, verdictName } from "../../src/dataplane/verdict.ts";
import { SingleWorld } from "../../src/node/replay/single-world.ts";
import { parseAddress } from "../../src/policy/address.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../src/policy/timeouts.ts";
import type { Firewall } from "./firewall.ts";
import type { Side } from "./steps.ts";

const TCP = 6;
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

/** A side's numbers: see tcp-window.ts. */
export interface SideLook {
  readonly isSeen: boolean;
  readonly end: number;
  readonly limit: number;
  readonly max: number;
  readonly ack: number;
}

export interface TcpLook {
  readonly state: string;
  readonly isNoted: boolean;
  /** Who opened it, and that end's numbers; then the other one's. */
  readonly opener: Side;
  readonly original: SideLook;
  readonly reply: SideLook;
}

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

  /** What the tracker knows of the TCP connection between two hosts. */
  look(client: number, server: number): TcpLook | undefined {
    const { words } = this.#world.table;
    for (let base = 0; base < words.length; base += ROW_WORDS) {
      const meta = words[base + F_META]!;
      if ((meta & FLAG_USED) === 0 || (meta & 0xff) !== TCP) continue;
      const [source, destination] = [words[base + F_SOURCE]! >>> 0, words[base + F_DESTINATION]! >>> 0];
      const isByClient = source === client && destination === server;
      if (!isByClient && !(source === server && destination === client)) continue;
      const side = (direction: number): SideLook => {
        const at = base + F_WINDOW + direction * WINDOW_WORDS;
        return {
          isSeen: isSideSeen(words, base, direction),
          end: words[at + W_END]!,
          limit: words[at + W_LIMIT]!,
          max: words[at + W_MAX]! >>> 0,
          ack: words[at + W_ACK]!,
        };
      };
      return {
        state: TCP_STATE_NAMES[tcpState(words, base / ROW_WORDS)]!,
        isNoted: isNoted(words, base),
        opener: isByClient ? "client" : "server",
        original: side(0),
        reply: side(1),
      };
    }
    return undefined;
  }

  stateOf(text: string): string {
    const { flows } = this.#world.flows.list({ source: address(text) }, 10);
    return flows
      .map((flow: FlowSnapshot) => `${flow.protocol} ${flow.state} ${flow.original.source.port}`)
      .join(" | ");
  }

  close(): void {}
}
