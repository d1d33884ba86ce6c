/** `synwall policy apply` from the request to the worker: what a good file changes, and that a bad one changes nothing. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MemoryLogStore } from "../../../cluster/storage/memory.ts";
import { MemoryNetwork } from "../../../cluster/transport/in-memory.ts";
import { seededRandom } from "../../../src/base/env.ts";
import { LatencyHistogram } from "../../../src/base/histogram.ts";
import { flowTableBytes } from "../../../src/dataplane/flow-table.ts";
import { compileRules } from "../../../src/dataplane/rules/compile.ts";
import { adminHandlers } from "../../../src/node/admin-handlers.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import type { AdminHandlers } from "../../../src/node/admin-server.ts";
import { Journal } from "../../../src/node/journal.ts";
import { loadPolicy } from "../../../src/node/loaded-policy.ts";
import { NodeCore } from "../../../src/node/node-core.ts";
import { NodeReport } from "../../../src/node/node-report.ts";
import { createSharedMemory } from "../../../src/node/shared-memory.ts";
import { witnessHandlers } from "../../../src/node/witness-admin.ts";
import type { WitnessCore } from "../../../src/node/witness-core.ts";
import type { ToWorker } from "../../../src/node/worker-protocol.ts";
import { policyFingerprint } from "../../../src/policy/fingerprint.ts";
import { confState } from "../cluster/control/cluster-of-drivers.ts";
import { VirtualClock } from "../cluster/control/virtual-clock.ts";
import { Site } from "../config/site.ts";

const OUT = "{ name: out, from: inside, to: outside, action: accept }";

let site: Site;
beforeAll(() => {
  site = new Site();
});
afterAll(() => site.remove());

/** A node's control thread that was just started on the example; its worker is a list of what it is told. */
class Node {
  readonly core: NodeCore;
  readonly admin: AdminHandlers;
  readonly told: ToWorker[] = [];
  readonly events: JournalEvent[] = [];

  constructor() {
    const config = site.load("fw1");
    const clock = new VirtualClock();
    const random = seededRandom(3);
    const schedule = (delayMs: number, callback: () => void): void => clock.schedule(delayMs, callback);
    const network = new MemoryNetwork({ schedule, random, delayMsMin: 1, delayMsMax: 2 });
    const transport = network.attach(1);
    const { policy } = config.dataplane!;
    this.core = new NodeCore({
      config,
      memory: createSharedMemory(flowTableBytes(16), policy.rules.length),
      storage: new MemoryLogStore(confState([1, 2, 3])),
      transport,
      timers: clock,
      env: { nowMs: () => clock.nowMs(), random },
      journal: new Journal((event) => this.events.push(event), {
        nowMs: () => clock.nowMs(),
        wallMs: () => clock.nowMs(),
      }),
      log: { line: () => {} },
      post: (message) => this.told.push(message),
      onFatal: (error) => {
        throw error;
      },
    });
    const started = {
      ...({ type: "started", driver: "memory", reason: "", realtimeReason: "" } as const),
      ...{ isRealtime: false, ports: [] },
    };
    const store = { syncLatency: new LatencyHistogram() };
    const report = new NodeReport({ core: this.core, started, store, transport });
    // As the thread of its own does (policy-loader.ts), without the thread.
    this.admin = adminHandlers(report, async (path) => loadPolicy(path));
  }

  /** Applies the example with edits: what came of it. */
  apply(edits: Readonly<Record<string, string>>): Promise<unknown> {
    return this.ask(site.configure("fw1", edits));
  }

  async ask(config: string): Promise<unknown> {
    return this.admin["policy.apply"]({ config });
  }

  /** The message that a refusal ends with; file paths in it are shortened. */
  async refusal(work: () => Promise<unknown>): Promise<string> {
    try {
      await work();
    } catch (error) {
      return (error as Error).message.replaceAll(`${site.directory}/`, "");
    }
    throw new Error("the policy was applied");
  }

  get rules(): string[] {
    return this.core.policies.current.rules.map((rule) => rule.name);
  }
}

describe("a good policy", () => {
  test("holds at once: the worker has it, peers are told, hits go on under the rules' names, the journal says so", async () => {
    const node = new Node();
    const before = node.rules;
    new Float64Array(node.core.memory.ruleHits)[0] = 5;
    const answer = await node.apply({
      [OUT]: `{ name: no-telnet, protocol: tcp, destinationPorts: [23], action: drop }\n  - ${OUT}`,
    });
    expect(node.rules).toEqual(["no-telnet", ...before]);
    const fingerprint = policyFingerprint(node.core.policies.current, node.core.config.cluster.slots);
    expect(answer).toMatchObject({ rules: before.length + 1, fingerprint });
    const [told] = node.told;
    if (typeof told !== "object" || told.type !== "policy") throw new Error("the worker was told nothing");
    expect(told.policy).toEqual({ ...node.core.policies.current, rules: [] });
    expect(told.compiled).toEqual(compileRules(node.core.policies.current.rules));
    expect(told.ruleHits.byteLength).toBe(8 * (before.length + 2));
    new Float64Array(told.ruleHits)[1] = 2;
    expect(node.core.policies.ruleHits().slice(0, 2)).toEqual([
      { rule: "no-telnet", hits: 0 },
      { rule: "out", hits: 7 },
    ]);
    expect(node.events.at(-1)).toMatchObject({
      kind: "policy",
      text: `policy ${fingerprint.slice(0, 8)} of ${site.path("fw1.yaml")} holds`,
    });
  });

  test("is answered with what is no mistake but worth a look", async () => {
    const edits = { "addressSets:": "addressSets:\n  forgotten: [192.0.2.77]" };
    const { notes } = (await new Node().apply(edits)) as { notes: string[] };
    expect(notes.map((note) => note.replaceAll(`${site.directory}/`, ""))).toEqual([
      expect.stringMatching(/^fw1\.yaml:\d+: addressSets\.forgotten: nothing uses it/),
    ]);
  });

  test("may be applied again and again, and back: traffic goes on meanwhile", async () => {
    const node = new Node();
    const first = policyFingerprint(node.core.policies.current, 64);
    await node.apply({ [OUT]: OUT.replace("accept", "drop") });
    expect(await node.apply({})).toMatchObject({ fingerprint: first });
    expect(await node.apply({})).toMatchObject({ fingerprint: first });
    expect(node.told).toHaveLength(3);
  });
});

describe("a policy that cannot hold changes nothing", () => {
  const untouched = async (node: Node, work: () => Promise<unknown>): Promise<string> => {
    const { current } = node.core.policies;
    const message = await node.refusal(work);
    expect(node.core.policies.current).toBe(current);
    expect([node.told, node.events]).toEqual([[], []]);
    return message;
  };

  test.each([
    [
      "a word that is none",
      { [OUT]: OUT.replace("accept", "acept") },
      'fw1.yaml:107: rules[0].action: "acept" does not fit: write one of accept, drop, reject',
    ],
    [
      "a zone that is none",
      { [OUT]: OUT.replace("inside", "insid") },
      'fw1.yaml:107: rules[0].from: no zone "insid": use one of inside, outside, dmz',
    ],
    [
      "a network that is none",
      { "destinations: [10.10.0.250]": "destinations: [10.10.0.256]" },
      /^fw1\.yaml:112: rules\[1\]\.destinations\[0\]: [^\n]*"10\.10\.0\.256"[^\n]*$/,
    ],
    ["no YAML", { [OUT]: OUT.replace("}", "") }, /^fw1\.yaml:\d+: not valid YAML: [^\n]+$/],
  ])("%s: one line names the field, the value and what is right", async (_, edits, line) => {
    const node = new Node();
    const message = await untouched(node, () => node.apply(edits));
    if (typeof line === "string") expect(message).toBe(line);
    else expect(message).toMatch(line);
  });

  test("what the node was started with: named, with what to do instead", async () => {
    const node = new Node();
    const edits = { "trust: 50": "trust: 60", [OUT]: OUT.replace("accept", "drop") };
    expect(await untouched(node, () => node.apply(edits))).toBe(
      "Cannot apply the policy of fw1.yaml: zones must stay as this node was started with; restart it, drained first",
    );
  });

  test("another member's file", async () => {
    const node = new Node();
    expect(await untouched(node, () => node.ask(site.configure("fw2")))).toMatch(
      /^Cannot apply the policy of fw2\.yaml: cluster[^;]* must stay as this node was started with; restart it, drained first$/,
    );
  });

  test("a file that is not there, and none at all", async () => {
    const node = new Node();
    expect(await untouched(node, () => node.ask(site.path("nothing.yaml")))).toMatch(
      /^nothing\.yaml: cannot read the configuration \([^\n]+\): name a file that exists with --config$/,
    );
    expect(await untouched(node, () => node.ask(undefined as unknown as string))).toBe(
      "policy.apply needs the path of the file: config",
    );
  });

  test("a witness has none", () => {
    const { "policy.apply": apply } = witnessHandlers({} as WitnessCore);
    expect(() => apply({ config: "fw1.yaml" })).toThrow("a witness has no dataplane: ask a node");
  });
});
