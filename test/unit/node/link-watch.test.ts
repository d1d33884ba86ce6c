/**
 * Tracked links with whole members: real nodes and a witness in virtual time, whose cables are pulled.
 */
import { describe, expect, test } from "vitest";
import { clientAddresses, type Link, SERVER_ADDRESS } from "../../../chaos/lab/topology.ts";
import { SimCluster, type Way } from "../../../chaos/sim/cluster/cluster.ts";
import { plugHosts } from "../../../chaos/sim/cluster/hosts.ts";
import type { StatusReport } from "../../../src/node/admin-model.ts";

const WAIT_MS_MAX = 20_000;
const STEP_MS = 20;

class Site {
  #status: StatusReport | undefined;
  readonly cluster: SimCluster;
  readonly journal: string[] = [];

  constructor(nodes: number) {
    this.cluster = new SimCluster({
      ...{ seed: 7, nodes, hasWitness: true, profile: "vm" },
      onEvent: (member, { text }) => this.journal.push(`${member}: ${text}`),
    });
  }

  /** Runs `story` in the cluster's time. */
  static run(story: (site: Site) => Promise<void>, nodes = 2): Promise<void> {
    const site = new Site(nodes);
    return site.cluster.clock.drive(
      (async () => {
        await site.cluster.startAll();
        await site.until("fw1 and fw2 share the slots", () =>
          ["fw1", "fw2"].every((name) => site.state(name) === "active" && site.owned(name) > 0),
        );
        await story(site);
        expect(site.cluster.failures).toEqual([]);
      })(),
    );
  }

  setCarrier(name: string, link: Link, isUp: boolean): void {
    const port = this.cluster.member(name).plugs.get(link)!;
    this.cluster.wires.segments[link].setCarrier(port, isUp);
  }

  /** Hosts on both sides speak to each other by every node, twenty times a second. */
  startHosts(): void {
    const { client } = plugHosts(this.cluster);
    let sequence = 0;
    this.cluster.clock.every(50, () => {
      for (const from of clientAddresses().slice(0, 8)) client.sendEcho(from, SERVER_ADDRESS, 1, sequence++);
    });
  }

  state(name: string): string {
    return this.#find(name)?.state ?? "absent";
  }

  owned(name: string): number {
    return this.#find(name)?.slotsOwned ?? 0;
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let ms = 0; ms < WAIT_MS_MAX; ms += STEP_MS) {
      this.#status = await this.cluster.member("witness").ask("status", {});
      if (isSo()) return;
      await this.cluster.clock.pause(STEP_MS);
    }
    throw new Error(`${what}: not within ${WAIT_MS_MAX} ms`);
  }

  /** Lets time pass, and looks. */
  async after(ms: number): Promise<void> {
    await this.cluster.clock.pause(ms);
    this.#status = await this.cluster.member("witness").ask("status", {});
  }

  #find(name: string): StatusReport["members"][number] | undefined {
    return this.#status?.members.find((member) => member.name === name);
  }
}

describe("tracked links", () => {
  test("a node that loses a zone's carrier gives up its slots, and takes its share when it is back", () =>
    Site.run(async (site) => {
      site.setCarrier("fw1", "inside", false);
      await site.until("fw1 is drained", () => site.state("fw1") === "drained" && site.owned("fw1") === 0);
      site.setCarrier("fw1", "inside", true);
      await site.until("fw1 is back", () => site.state("fw1") === "active" && site.owned("fw1") === 32);
    }));

  test("when all nodes lose the same carrier, all keep taking part", () =>
    Site.run(async (site) => {
      for (const name of ["fw1", "fw2"]) site.setCarrier(name, "inside", false);
      await site.after(5000);
      await site.until("both share the slots", () => site.owned("fw1") === 32 && site.owned("fw2") === 32);
      expect([site.state("fw1"), site.state("fw2")]).toEqual(["active", "active"]);
    }));

  test("a node that gave up comes back when the other one is no better off any more", () =>
    Site.run(async (site) => {
      site.setCarrier("fw1", "inside", false);
      await site.until("fw1 is drained", () => site.state("fw1") === "drained");
      site.setCarrier("fw2", "inside", false);
      await site.until("fw1 is back", () => site.state("fw1") === "active" && site.owned("fw1") === 32);
      site.setCarrier("fw1", "inside", true);
      await site.until("fw2 gave up", () => site.state("fw2") === "drained" && site.owned("fw1") === 64);
    }));

  test("a drain that an operator asked for outlasts a carrier that goes and comes", () =>
    Site.run(async (site) => {
      await site.cluster
        .member("fw1")
        .ask("drain", { node: "fw1", timeoutMs: 10_000 }, { timeoutMs: 10_000 });
      site.setCarrier("fw1", "inside", false);
      await site.after(2000);
      site.setCarrier("fw1", "inside", true);
      await site.after(5000);
      expect([site.state("fw1"), site.owned("fw1")]).toEqual(["drained", 0]);
    }));
});

describe("wires that carry nothing, although they have a carrier", () => {
  const WAYS: readonly (readonly [Link, Way, number])[] = [
    ["outside", "both", 2],
    ["inside", "in", 2],
    ["inside", "out", 2],
    ["outside", "both", 3],
    ["outside", "in", 3],
    ["inside", "out", 3],
  ];

  test.each(WAYS)(
    "a node whose wire to %s is cut (%s), of %i, gives up its slots, and takes its share when it is mended",
    (link, way, nodes) =>
      Site.run(async (site) => {
        site.startHosts();
        await site.after(2000);
        site.cluster.cut("fw1", link, way);
        await site.until("fw1 is drained", () => site.state("fw1") === "drained" && site.owned("fw1") === 0);
        expect(site.journal.filter((line) => line.includes("gives up"))).toEqual([
          `fw1: fw1 gives up its slots: nothing comes through on ${link}, though it has a carrier`,
        ]);
        const { alerts } = await site.cluster.member("fw1").ask("status", {});
        expect(alerts.join("\n")).toContain(
          `nothing comes through on ${link} (${link}), though it has a carrier`,
        );
        site.cluster.heal("fw1");
        await site.until("fw1 is back", () => site.state("fw1") === "active" && site.owned("fw1") > 0);
        await site.after(3000);
        expect(site.journal.filter((line) => line.includes("gives up"))).toHaveLength(1);
        const status = await site.cluster.member("fw1").ask("status", {});
        expect(status.alerts.join("\n")).not.toContain("nothing comes through");
      }, nodes),
  );

  // Each node looks at its wires every 100 ms, in its own rhythm: what one says is up to that much older than what another one says.
  test.each([0, 60, 120, 180, 240, 300, 360, 420, 480])(
    "it is the right one, whenever the wire is cut (%i ms)",
    (ms) =>
      Site.run(async (site) => {
        site.startHosts();
        await site.after(2000 + ms);
        site.cluster.cut("fw1", "outside");
        await site.until("fw1 is drained", () => site.state("fw1") === "drained" && site.owned("fw1") === 0);
        expect(site.journal.filter((line) => line.includes("fw2 gives up"))).toEqual([]);
      }),
  );

  test("two nodes that do not hear each other on a wire on which each hears hosts both go on", () =>
    Site.run(async (site) => {
      site.startHosts();
      await site.after(2000);
      const [one, two] = ["fw1", "fw2"].map((name) => site.cluster.member(name));
      for (const [from, to] of [
        [one!, two!],
        [two!, one!],
      ] as const)
        site.cluster.cutPair(from, to, "inside");
      await site.after(5000);
      expect([site.state("fw1"), site.state("fw2")]).toEqual(["active", "active"]);
    }));

  test("where no host ever spoke nobody can tell whose wire is dead: both go on", () =>
    Site.run(async (site) => {
      await site.after(1000);
      site.cluster.cut("fw1", "inside");
      await site.after(5000);
      expect([site.state("fw1"), site.state("fw2")]).toEqual(["active", "active"]);
    }));
});
