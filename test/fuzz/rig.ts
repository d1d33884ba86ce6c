/**
 * Rig: two pairs of engines that go the same way, their frame memory poisoned differently, and all oracles over them. Owns what
 * must hold after each step; what the steps are is generate.ts.
 */
import { OP_UPSERT, RECORD_OP_AT } from "../../src/base/record.ts";
import { SLOT_HANDOVER, SLOT_OWNED, SLOT_REMOTE, SLOT_TAKEOVER } from "../../src/dataplane/cluster-view.ts";
import { isSound } from "../../src/dataplane/record-check.ts";
import { REDIRECT_BYTES } from "../../src/dataplane/redirect.ts";
import { Judge } from "./judge.ts";
import { FuzzNode, type Left, type Plant, SLOTS } from "./node.ts";
import { FAMILIES } from "./policies.ts";
import { Forger } from "./records.ts";
import { wrongTable } from "./recount.ts";
import type { Step } from "./steps.ts";
import { wrongChecksum } from "./wire.ts";

const POISONS = [0x00, 0xff];
const RECOUNT_EVERY = 192;
/** The longest time that a record can leave a flow, and as much again as the wheel needs to see it. */
const FORGED_LIFE_MS = [2 ** 32, 400_000, 400_000];

/** By port: headers that must be right whatever arrived; in a redirect that of what it carries, but no other's payload. */
const OUR_HEADERS = [
  ["IPv4 header checksum"],
  ["IPv4 header checksum"],
  ["IPv4 header checksum", "carried IPv4 header checksum"],
];

/** Who owns a slot, and the state of the other's slots, by pattern. */
const PATTERNS: readonly [(slot: number) => number, number][] = [
  [(slot) => 1 + (slot & 1), SLOT_REMOTE],
  [() => 1, SLOT_REMOTE],
  [() => 2, SLOT_REMOTE],
  [(slot) => 2 - (slot & 1), SLOT_REMOTE],
  [(slot) => 1 + (slot & 1), SLOT_HANDOVER],
  [(slot) => 1 + ((slot >> 1) & 1), SLOT_TAKEOVER],
];
export const PATTERN_COUNT = PATTERNS.length;

/** An oracle that spoke. */
export class Defect extends Error {}

export class Rig {
  readonly pairs: readonly (readonly [FuzzNode, FuzzNode])[];
  readonly family: number;
  /** Of the last step: the verdict, and what left the first pair, by node. */
  verdict = -1;
  readonly left: (Left & { node: number })[] = [];
  #epoch = 1;
  #steps = 0;
  #isTainted = false;
  readonly #judge: Judge | undefined;
  /** By sending node. */
  readonly #forgers = [new Forger(), new Forger()];
  /** Forged records may let in whom no rule did, and live as long as they say. */
  #isForged = false;

  constructor(family: number, plant?: Plant) {
    this.family = family;
    const policy = FAMILIES[family]![0]!;
    // Planted defects of one pair only would be found by the comparison alone: they are in both, except what reads poison.
    this.pairs = POISONS.map((poison) => [
      new FuzzNode(1, policy, poison, plant),
      new FuzzNode(2, policy, poison, plant),
    ]);
    this.#judge = family === 0 ? new Judge() : undefined;
    this.#own(0);
    this.#collect(true);
  }

  get nodes(): readonly [FuzzNode, FuzzNode] {
    return this.pairs[0]!;
  }

  /** Takes a step with all engines and judges what came of it; throws a Defect, or what an engine threw. */
  step(step: Step): void {
    this.#steps++;
    this.verdict = -1;
    let isGood = true;
    if (step.op === "frame") isGood = this.#frame(step.node, step.port, step.bytes);
    else if (step.op === "replicate" || step.op === "forge") {
      for (let from = 0; from < 2; from++) this.#replicate(from, step.op === "forge" ? step.seed + from : -1);
    } else for (const pair of this.pairs) this.#other(pair, step);
    this.#collect(isGood && !this.#isTainted);
    const waiting = this.nodes[0].waiting() + this.nodes[1].waiting();
    if (waiting === 0) this.#isTainted = false;
    else if (!isGood) this.#isTainted = true;
    this.#account();
    if (this.#steps % RECOUNT_EVERY === 0) this.#recount();
  }

  #frame(node: number, port: number, bytes: Uint8Array): boolean {
    // What a peer redirects came from inside as well, or may have.
    if (port !== 1) this.#judge?.heard(port === 0 ? bytes : bytes.subarray(REDIRECT_BYTES));
    this.verdict = this.pairs[0]![node]!.receive(port, bytes);
    const twin = this.pairs[1]![node]!.receive(port, bytes);
    if (twin !== this.verdict) {
      throw new Defect(`the verdict follows bytes outside the frame: ${this.verdict} or ${twin}`);
    }
    const inner = port === 2 ? Math.min(REDIRECT_BYTES, bytes.length) : 0;
    return (
      wrongChecksum(bytes, 0, bytes.length) === "" && wrongChecksum(bytes, inner, bytes.length - inner) === ""
    );
  }

  #other(pair: readonly [FuzzNode, FuzzNode], step: Step): void {
    if (step.op === "tick") for (const node of pair) node.tick(step.ms);
    else if (step.op === "policy") {
      const policy = FAMILIES[this.family]![step.index]!;
      for (const node of pair) node.engine.usePolicy(policy, new Float64Array(policy.rules.length + 1));
    } else if (step.op === "own") {
      if (pair === this.pairs[0]) this.#epoch++;
      this.#ownPair(pair, step.pattern);
    } else if (step.op === "lease") {
      pair[step.node]!.view.leaseUntilMs[0] = step.isValid ? Number.POSITIVE_INFINITY : 0;
    } else if (step.op === "takeover") {
      for (const node of pair) node.applied += node.takeRecords().length;
      if (pair === this.pairs[0]) this.#epoch++;
      this.#ownPair(pair, step.pattern);
    } else if (step.op === "export") {
      for (const { view, engine } of pair)
        if (view.owner[step.slot] === view.selfId) engine.exportSlot(step.slot);
    }
  }

  /** Brings a node's records to the other, as they are or forged (`seed`). */
  #replicate(from: number, seed: number): void {
    const [sent, twin] = this.pairs.map((pair) => pair[from]!.takeRecords());
    if (Buffer.compare(Buffer.concat(sent!), Buffer.concat(twin!)) !== 0) {
      throw new Defect("records hold bytes from outside frames");
    }
    for (const record of sent!) {
      if (record[RECORD_OP_AT] === OP_UPSERT && !isSound(record, 0, SLOTS)) {
        throw new Defect("a node tells of a flow that the other one must refuse");
      }
    }
    this.#isForged ||= seed >= 0;
    const told = seed < 0 ? sent! : this.#forgers[from]!.forge(sent!, seed);
    for (const pair of this.pairs) {
      const node = pair[1 - from]!;
      node.replicate(pair[from]!, sent!.length, told);
      if (seed >= 0) node.proofs.forget();
      else if (node.proofs.wrongSlot >= 0) {
        throw new Defect(`slot ${node.proofs.wrongSlot} was sent whole and has another digest`);
      }
    }
  }

  #own(pattern: number): void {
    for (const pair of this.pairs) this.#ownPair(pair, pattern);
  }

  #ownPair(pair: readonly [FuzzNode, FuzzNode], pattern: number): void {
    const [owner, foreign] = PATTERNS[pattern]!;
    for (const node of pair) {
      node.proofs.forget();
      node.own(this.#epoch, owner, foreign);
    }
  }

  /** Takes what left: the pairs must agree on every byte, checksums must be right, and the policy must allow it. */
  #collect(isGood: boolean): void {
    this.left.length = 0;
    for (let node = 0; node < 2; node++) {
      const one = this.pairs[0]![node]!.left;
      const two = this.pairs[1]![node]!.left;
      if (one.length !== two.length) throw new Defect("whether a frame leaves follows bytes outside frames");
      for (let i = 0; i < one.length; i++) {
        const { port, bytes } = one[i]!;
        if (port !== two[i]!.port || Buffer.compare(bytes, two[i]!.bytes) !== 0) {
          throw new Defect(`what left by port ${port} holds bytes from outside its frame`);
        }
        const wrong = wrongChecksum(bytes, 0, bytes.length);
        if (wrong !== "" && (isGood || OUR_HEADERS[port]!.includes(wrong)))
          throw new Defect(`left with a wrong ${wrong}`);
        const judged = port === 2 || this.#isForged ? "" : (this.#judge?.wrong(port, bytes) ?? "");
        if (judged !== "") throw new Defect(`a packet ${judged}`);
        this.left.push({ port, bytes, node });
      }
      one.length = 0;
      two.length = 0;
    }
  }

  #account(): void {
    for (const pair of this.pairs) {
      for (const node of pair) {
        const lost = node.frames.out() - node.waiting();
        if (lost !== 0) throw new Defect(`${lost} frames are neither free nor waiting`);
      }
    }
  }

  #recount(): void {
    for (const node of this.nodes) {
      const wrong = wrongTable(node);
      if (wrong !== "") throw new Defect(`flow table: ${wrong}`);
    }
  }

  /** The end of an episode: each node decides all there is, time passes, and nothing may be left. */
  finish(): void {
    this.#recount();
    this.#epoch++;
    for (const pair of this.pairs) {
      for (const node of pair) {
        node.view.leaseUntilMs[0] = Number.POSITIVE_INFINITY;
        node.own(this.#epoch, () => node.view.selfId, SLOT_OWNED);
        if (this.#isForged) for (const ms of FORGED_LIFE_MS) node.tick(ms);
        for (const ms of [10, 5_000, 10_000_000, 400_000, 400_000, 20_000, 300, 300_000, 300_000, 300_000])
          node.tick(ms);
      }
    }
    this.#collect(false);
    this.#account();
    this.#recount();
    for (const node of this.nodes) {
      if (node.table.used > 0) throw new Defect(`${node.table.used} rows outlive their time`);
      const ports = node.count("natPortsNow");
      if (ports !== 0) throw new Defect(`${ports} NAT ports in use with an empty table`);
      if (node.waiting() > 0) throw new Defect(`${node.waiting()} frames wait for ever`);
    }
  }
}
