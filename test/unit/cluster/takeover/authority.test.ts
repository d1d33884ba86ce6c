/**
 * A node's authority as a peer meets it: what it answers about itself, and whose promises it collects.
 */
import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { type ClusterState, emptyState, type Member } from "../../../../cluster/control/model.ts";
import { clusterHash, EnvelopeWriter, type Mac } from "../../../../cluster/liveness/envelope.ts";
import { PROFILES } from "../../../../cluster/liveness/model.ts";
import { Authority, type AuthorityEffect } from "../../../../cluster/takeover/authority.ts";
import {
  encodeFenceAsk,
  MESSAGE_FENCE_ASK,
  MESSAGE_FENCE_REPLY,
} from "../../../../cluster/takeover/messages.ts";
import { seededRandom } from "../../../../src/base/env.ts";

const mac: Mac = (bytes, from, to) => createHmac("sha256", `${from}-${to}`).update(bytes).digest();
const SLOTS = 16;

function member(id: number, state: Member["state"] = "active"): Member {
  const rest = { role: "node", weight: 1, incarnation: 1 } as const;
  return { id, name: `fw${id}`, address: `192.0.2.${id}`, state, ...rest };
}

/** Node 1, which owns all slots, and node 2, which only the test speaks for. */
class Rig {
  readonly effects: AuthorityEffect[] = [];
  readonly authority: Authority;
  readonly #writer = new EnvelopeWriter(clusterHash("edge"), mac);
  #nowMs = 0;
  #sequence = 0;

  constructor(voters: readonly number[]) {
    const peers = [{ nodeId: 2, role: "node", links: [0] }] as const;
    this.authority = new Authority(
      {
        ...{ selfId: 1, role: "node", cluster: "edge", profile: PROFILES.lan, peers, voters, slots: SLOTS },
        ...{ mac, lifelineReleases: true },
      },
      { nowMs: () => this.#nowMs, random: seededRandom(1) },
      {
        send: () => {},
        event: () => {},
        effect: (effect) => this.effects.push(effect),
      },
    );
    this.authority.setCaughtUp();
    this.know([member(1), member(2)]);
  }

  get isServing(): boolean {
    return this.#nowMs < this.authority.leaseUntilMs;
  }

  know(members: readonly Member[]): void {
    const { table } = emptyState(SLOTS);
    const state: Pick<ClusterState, "table" | "members"> = {
      table: { ...table, epoch: 1, owner: table.owner.map(() => 1) },
      members,
    };
    this.authority.applyState(state, 1, this.#nowMs);
  }

  pass(ms: number): void {
    for (const endMs = this.#nowMs + ms; this.#nowMs < endMs; this.#nowMs++) this.authority.tick(this.#nowMs);
  }

  /** Node 2 asks for a fence of `node`; whether it was answered. */
  ask(node: number): boolean {
    const { heartbeats } = this.authority;
    let isAnswered = false;
    const { sendNow } = heartbeats;
    heartbeats.sendNow = (to, type, body) => {
      isAnswered ||= to === 2 && type === MESSAGE_FENCE_REPLY;
      sendNow.call(heartbeats, to, type, body);
    };
    const body = encodeFenceAsk({ ask: 1, node, epoch: 1 });
    this.#writer.begin(2, 1, 0, 5, heartbeats.nonce, ++this.#sequence);
    this.#writer.bytes.set(body, this.#writer.add(MESSAGE_FENCE_ASK, body.length));
    this.authority.receive(0, this.#writer.seal().slice(), this.#nowMs);
    heartbeats.sendNow = sendNow;
    return isAnswered;
  }
}

test("a node that votes alone and serves does not fence itself for a peer that missed it for a while", () => {
  const rig = new Rig([1]);
  rig.pass(1000);
  expect(rig.isServing).toBe(true);
  expect(rig.ask(1)).toBe(false);
  rig.pass(1000);
  expect(rig.effects.filter(({ type }) => type === "fenced")).toEqual([]);
  expect(rig.isServing).toBe(true);
});

test("it answers about others, and about itself when it does not serve", () => {
  const rig = new Rig([1]);
  expect(rig.isServing).toBe(false);
  expect(rig.ask(1)).toBe(true);
  rig.pass(2000);
  expect(rig.isServing).toBe(true);
  expect(rig.ask(2)).toBe(true);
  rig.know([member(1, "down"), member(2)]);
  rig.pass(200);
  expect(rig.isServing).toBe(false);
  expect(rig.ask(1)).toBe(true);
});
