/**
 * Runs a text script against a cluster and writes down all that happens: each command, each Ready, each delivery.
 * The transcripts are the golden files; a reviewer reads their diff. See test/golden/README.md for the commands.
 */
import {
  type ConfChange,
  type ConfChangeSingle,
  type ConfState,
  decodeConfChange,
  type Entry,
  type Message,
  type Ready,
} from "raft-ts";
import { bytes, type NodeOptions, TestNode, text, voters } from "./driver.ts";

export function runScript(script: string): string {
  return new Script().run(script);
}

class Script {
  readonly #nodes = new Map<number, TestNode>();
  #queue: Message[] = [];
  #options: NodeOptions = {};
  #bootstrap: ConfState = voters();
  #out: string[] = [];

  run(script: string): string {
    for (const line of script.split("\n")) {
      if (line === "" || line.startsWith("#")) {
        this.#out.push(line);
        continue;
      }
      this.#out.push(`> ${line}`);
      const [command, ...args] = line.trim().split(/\s+/);
      try {
        this.#execute(command!, args);
      } catch (error) {
        this.#say(`${(error as Error).name}: ${(error as Error).message}`);
      }
    }
    return `${this.#out.join("\n").trimEnd()}\n`;
  }

  #say(line: string): void {
    this.#out.push(`  ${line}`);
  }

  #execute(command: string, args: readonly string[]): void {
    const id = Number(args[0]);
    const whole: Record<string, () => void> = {
      cluster: () => this.#cluster(args),
      join: () => this.#add(id, args[1] === "empty" ? voters() : this.#bootstrap),
      deliver: () => this.#deliver(args),
      drop: () => this.#drop(args),
      settle: () => this.#settle(args.map(Number)),
      status: () => this.#status(),
    };
    const ofNode: Record<string, (node: TestNode) => void> = {
      campaign: (node) => node.raw.campaign(),
      elect: (node) => this.#elect(node),
      tick: (node) => node.tick(Number(args[1] ?? 1)),
      propose: (node) => node.propose(args.slice(1).join(" ")),
      change: (node) => node.raw.proposeConfChange(parseChange(args.slice(1))),
      read: (node) => node.raw.readIndex(bytes(args[1]!)),
      transfer: (node) => node.raw.transferLeader(Number(args[1])),
      forget: (node) => node.raw.forgetLeader(),
      unreachable: (node) => node.raw.reportUnreachable(Number(args[1])),
      "snapshot-report": (node) => node.raw.reportSnapshot(Number(args[1]), args[2] === "ok"),
      compact: (node) => node.compact(Number(args[1] ?? 0)),
      restart: (node) => this.#restart(node),
      ready: (node) => this.#ready(node),
      log: (node) => this.#log(node),
    };
    if (Object.hasOwn(whole, command)) whole[command]!();
    else if (Object.hasOwn(ofNode, command)) ofNode[command]!(this.#node(id));
    else throw new Error(`Unknown command ${command}`);
  }

  /** An election that is not what the script is about. */
  #elect(node: TestNode): void {
    const out = this.#out;
    this.#out = [];
    node.raw.campaign();
    this.#settle([]);
    this.#out = out;
    const { state, term } = node.raw.status();
    this.#say(`${node.id} ${state} term=${term}`);
  }

  #restart(node: TestNode): void {
    this.#queue = this.#queue.filter((m) => m.to !== node.id);
    node.restart();
  }

  #cluster(args: readonly string[]): void {
    const flags = new Map(args.map((arg) => arg.split("=") as [string, string | undefined]));
    const number = (name: string, other: number) => Number(flags.get(name) ?? other);
    this.#options = {
      electionTick: number("election", 3),
      preVote: flags.has("prevote"),
      checkQuorum: flags.has("checkquorum"),
      maxInflightMessages: number("inflight", 256),
      maxSizePerMessage: number("size", 1 << 20),
      maxUncommittedBytes: number("uncommitted", 0),
      stepDownOnRemoval: flags.has("stepdown"),
      readOnly: flags.has("lease") ? "lease" : "safe",
    };
    const witness = number("witness", 0);
    const ids = flags.get("voters")!.split(",").map(Number);
    this.#bootstrap = {
      ...voters(...ids),
      learners: (flags.get("learners") ?? "").split(",").flatMap((s) => (s === "" ? [] : [Number(s)])),
    };
    for (const id of [...ids, ...this.#bootstrap.learners]) this.#add(id, this.#bootstrap, id === witness);
  }

  #add(id: number, confState: ConfState, witness = false): void {
    // The timeout of a node grows with its id, so that nothing is left to chance.
    const random = (n: number) => Math.min(id - 1, n - 1);
    this.#nodes.set(id, new TestNode(id, confState, { ...this.#options, random, witness }));
  }

  #node(id: number): TestNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  #ready(node: TestNode): void {
    if (!node.raw.hasReady()) {
      this.#say(`${node.id} has nothing to do`);
      return;
    }
    const rd = node.raw.ready();
    this.#describe(node, rd);
    node.persist(rd);
    node.apply(rd);
    node.raw.advance();
    this.#queue.push(...rd.messages, ...rd.messagesAfterPersist);
  }

  /** All nodes, or only those named: Readys and deliveries until nothing is left to do. */
  #settle(only: readonly number[]): void {
    const nodes = [...this.#nodes.values()].filter((n) => only.length === 0 || only.includes(n.id));
    for (let round = 0; round < 1_000; round++) {
      let isBusy = false;
      for (const node of nodes) {
        while (node.raw.hasReady()) {
          isBusy = true;
          this.#ready(node);
        }
      }
      const mine = this.#queue.filter((m) => nodes.some((n) => n.id === m.to));
      if (mine.length > 0) isBusy = true;
      for (const m of mine) this.#arrive(m);
      if (!isBusy) return;
    }
    throw new Error("never falls silent");
  }

  #deliver(args: readonly string[]): void {
    for (const m of this.#match(args)) this.#arrive(m);
  }

  #drop(args: readonly string[]): void {
    for (const m of this.#match(args)) {
      this.#queue.splice(this.#queue.indexOf(m), 1);
      this.#say(`lost ${describeMessage(m)}`);
    }
  }

  /** `2` is all to node 2, `1->2` all from 1 to 2, nothing is everything. */
  #match([route]: readonly string[]): Message[] {
    if (route === undefined) return [...this.#queue];
    const [a, b] = route.split("->").map(Number);
    return this.#queue.filter((m) => (b === undefined ? m.to === a : m.from === a && m.to === b));
  }

  #arrive(m: Message): void {
    this.#queue.splice(this.#queue.indexOf(m), 1);
    this.#say(describeMessage(m));
    try {
      this.#nodes.get(m.to)?.raw.step(m);
    } catch (error) {
      this.#say(`${m.to}: ${(error as Error).name}: ${(error as Error).message}`);
    }
  }

  #describe(node: TestNode, rd: Ready): void {
    const parts: string[] = [];
    if (rd.softState) parts.push(`${rd.softState.state} lead=${rd.softState.lead}`);
    if (rd.hardState)
      parts.push(`term=${rd.hardState.term} vote=${rd.hardState.vote} commit=${rd.hardState.commit}`);
    this.#say(
      `${node.id} ready${rd.mustSync ? " sync" : ""}${parts.length > 0 ? `: ${parts.join(", ")}` : ""}`,
    );
    if (rd.snapshot)
      this.#say(`  install snapshot ${rd.snapshot.index} ${describeConf(rd.snapshot.confState)}`);
    if (rd.entries.length > 0) this.#say(`  append ${rd.entries.map(describeEntry).join(" ")}`);
    if (rd.committedEntries.length > 0)
      this.#say(`  apply ${rd.committedEntries.map(describeEntry).join(" ")}`);
    for (const { index, context } of rd.readStates) this.#say(`  read ${text(context)} at ${index}`);
    for (const m of rd.messages) this.#say(`  send ${describeMessage(m)}`);
    for (const m of rd.messagesAfterPersist) this.#say(`  then ${describeMessage(m)}`);
  }

  #log(node: TestNode): void {
    const { storage } = node;
    const [first, last] = [storage.firstIndex(), storage.lastIndex()];
    if (last < first) {
      this.#say(`empty, from ${first}`);
      return;
    }
    this.#say(
      storage
        .entries(first, last + 1, Number.POSITIVE_INFINITY)
        .map(describeEntry)
        .join(" "),
    );
  }

  #status(): void {
    for (const node of this.#nodes.values()) {
      const s = node.raw.status();
      const indices = `commit=${s.commit} applied=${s.applied} last=${s.lastIndex}`;
      this.#say(`${s.id} ${s.state} term=${s.term} lead=${s.lead} ${indices} ${describeConf(s.confState)}`);
      for (const [id, p] of s.progress) {
        if (id === s.id) continue;
        const inflight = s.flow.get(id)!.inflight;
        const isLearner = s.confState.learners.includes(id);
        const more = `${isLearner ? " learner" : ""}${inflight > 0 ? ` inflight=${inflight}` : ""}`;
        this.#say(`  ${id}: ${p.state} match=${p.match} next=${p.next}${more}`);
      }
    }
  }
}

function parseChange(args: readonly string[]): ConfChange {
  const signs = { "+": "addVoter", "~": "addLearner", "-": "remove" } as const;
  const changes: ConfChangeSingle[] = [];
  let transition: ConfChange["transition"] = "auto";
  for (const arg of args) {
    if (arg === "auto" || arg === "implicit" || arg === "explicit") transition = arg;
    else if (arg !== "leave")
      changes.push({ type: signs[arg[0] as keyof typeof signs], id: Number(arg.slice(1)) });
  }
  return { changes, transition };
}

function describeChange(cc: ConfChange): string {
  const signs = { addVoter: "+", addLearner: "~", remove: "-" } as const;
  if (cc.changes.length === 0) return "leave";
  const changes = cc.changes.map(({ type, id }) => `${signs[type]}${id}`).join(",");
  return cc.transition === "auto" ? changes : `${changes},${cc.transition}`;
}

function describeEntry(e: Entry): string {
  const id = e.index === 0 ? "" : `${e.term}/${e.index}:`;
  return e.type === "confChange"
    ? `${id}[${describeChange(decodeConfChange(e.data))}]`
    : `${id}"${text(e.data)}"`;
}

function describeConf(c: ConfState): string {
  const outgoing = c.votersOutgoing.length > 0 ? `&(${c.votersOutgoing.join(" ")})` : "";
  const learners = c.learners.length > 0 ? ` learners(${c.learners.join(" ")})` : "";
  const next = c.learnersNext.length > 0 ? ` next(${c.learnersNext.join(" ")})` : "";
  return `voters(${c.voters.join(" ")})${outgoing}${learners}${next}${c.autoLeave ? " autoleave" : ""}`;
}

function describeMessage(m: Message): string {
  const head = `${m.from}->${m.to} ${m.type} term=${m.term}`;
  switch (m.type) {
    case "MsgApp": {
      const entries = m.entries.length > 0 ? ` ${m.entries.map(describeEntry).join(" ")}` : "";
      return `${head} after=${m.logTerm}/${m.index} commit=${m.commit}${entries}`;
    }
    case "MsgAppResp":
      return m.reject
        ? `${head} rejected=${m.index} hint=${m.logTerm}/${m.rejectHint}`
        : `${head} match=${m.index}`;
    case "MsgVote":
    case "MsgPreVote":
      return `${head} last=${m.logTerm}/${m.index}${m.context ? ` context=${text(m.context)}` : ""}`;
    case "MsgVoteResp":
    case "MsgPreVoteResp":
      return `${head} ${m.reject ? "rejected" : "granted"}`;
    case "MsgHeartbeat":
      return `${head} commit=${m.commit}${m.context ? ` round=${m.context.at(-1)}` : ""}`;
    case "MsgHeartbeatResp":
      return `${head}${m.context ? ` round=${m.context.at(-1)}` : ""}`;
    case "MsgSnap":
      return `${head} snapshot=${m.snapshot.term}/${m.snapshot.index} ${describeConf(m.snapshot.confState)}`;
    case "MsgProp":
      return `${head} ${m.entries.map(describeEntry).join(" ")}`;
    case "MsgReadIndex":
      return `${head} ${text(m.context)}`;
    case "MsgReadIndexResp":
      return `${head} ${text(m.context)} at ${m.index}`;
    case "MsgTimeoutNow":
    case "MsgTransferLeader":
      return head;
    default:
      return m satisfies never;
  }
}
