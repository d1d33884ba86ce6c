/** The xdp driver against the port suite, and what only it promises. Needs root. */
import { createSocket } from "node:dgram";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SynwallError } from "../../src/base/errors.ts";
import { openPorts } from "../../src/io/open.ts";
import type { Port } from "../../src/io/port.ts";
import { getFrame, patternFrame, putFrame } from "./port-frames.ts";
import { describeInterfaces } from "./port-interfaces.ts";
import { describePort, describeZonePort } from "./port-suite.ts";
import { Namespace, vethDriver, vethVlanDriver, whyNoXdp } from "./port-worlds.ts";

const why = whyNoXdp();
if (why !== undefined) {
  console.warn(`xdp port conformance skipped: ${why}`);
  test.skip(`xdp ports: ${why}`, () => {});
} else {
  describePort(vethDriver("xdp"));
  describeZonePort(vethVlanDriver("xdp"), "a VLAN of an xdp port");
  describeInterfaces("xdp");
  describeXdp();
}

function describeXdp(): void {
  describe("xdp on an interface", () => {
    let namespace: Namespace;
    beforeEach(() => {
      namespace = new Namespace();
      namespace.enter();
    });
    afterEach(() => namespace.close());

    test("is native on veth, and hears every address of a zone", () => {
      namespace.addVeth("ours", "peer", 1500);
      const opened = openPorts("auto", [{ interfaceName: "ours", filter: { kind: "all" } }]);
      expect(opened.reason).toBe("xdp: ours native");
      expect(namespace.ip("-d", "link", "show", "ours")).toContain("promiscuity 1");
      opened.ports[0]!.close();
      expect(namespace.ip("-d", "link", "show", "ours")).toContain("promiscuity 0");
    });

    test("falls back to generic where the driver knows no XDP", async () => {
      namespace.addVeth("leaf", "peer", 1500);
      namespace.ip("link", "add", "ours", "type", "bridge");
      namespace.ip("link", "set", "leaf", "master", "ours");
      namespace.ip("link", "set", "ours", "up");
      const opened = openPorts("xdp", [
        { interfaceName: "ours", filter: { kind: "all" } },
        { interfaceName: "peer", filter: { kind: "all" } },
      ]);
      expect(opened.reason).toBe("xdp: ours generic, peer native");
      const [ours, peer] = opened.ports as [Port, Port];
      const broadcast = Uint8Array.of(255, 255, 255, 255, 255, 255);
      const batch = { at: new Uint32Array(8), lengthBytes: new Uint32Array(8) };
      const heard = async (from: Port, to: Port): Promise<Uint8Array> => {
        const frame = patternFrame(broadcast, from.mac, 3, 300);
        for (let sequence = -1; sequence !== 3; sequence = opened.pool.view.getUint32(batch.at[0]! + 14)) {
          from.send(putFrame(opened.pool, frame), frame.length);
          from.flush();
          await nextTurn();
          if (to.receive(batch, 1) === 1) opened.pool.free(batch.at[0]!);
        }
        return getFrame(opened.pool, batch.at[0]!, batch.lengthBytes[0]!);
      };
      expect(await heard(peer, ours)).toEqual(patternFrame(broadcast, peer.mac, 3, 300));
      expect(await heard(ours, peer)).toEqual(patternFrame(broadcast, ours.mac, 3, 300));
      for (const port of opened.ports) port.close();
    });

    test("sorts the VLANs of one interface, whose frames carry their tags on the wire", async () => {
      namespace.addVeth("ours", "peer", 1500);
      namespace.withTagsInFrames("ours", "peer");
      const [vlan100, vlan200, far] = openPorts("xdp", [
        { interfaceName: "ours", label: "ours.100", vlan: 100, filter: { kind: "all" } },
        { interfaceName: "ours", label: "ours.200", vlan: 200, filter: { kind: "all" } },
        { interfaceName: "peer", filter: { kind: "all" } },
      ]).ports as [Port, Port, Port];
      const batch = { at: new Uint32Array(8), lengthBytes: new Uint32Array(8) };
      const carried = async (from: Port, to: Port, frame: Uint8Array): Promise<Uint8Array> => {
        let count = 0;
        while (count === 0) {
          from.send(putFrame(from.pool, frame), frame.length);
          from.flush();
          await nextTurn();
          count = to.receive(batch, 1);
        }
        return getFrame(to.pool, batch.at[0]!, batch.lengthBytes[0]!);
      };
      const plain = patternFrame(vlan200.mac, far.mac, 5, 1514);
      const tagged = Uint8Array.of(...plain.subarray(0, 12), 0x81, 0x00, 0x00, 200, ...plain.subarray(12));
      expect(await carried(far, vlan200, tagged)).toEqual(plain);
      expect(await carried(vlan200, far, plain)).toEqual(tagged);
      expect(vlan100.receive(batch, 8)).toBe(0);
      for (const port of [vlan100, vlan200, far]) port.close();
    });

    test("refuses VLANs on a card that keeps the tags to itself, and says what to do", () => {
      namespace.addVeth("ours", "peer", 1500);
      const open = (driver: "auto" | "xdp"): unknown =>
        openPorts(driver, [{ interfaceName: "ours", vlan: 100, filter: { kind: "all" } }]);
      for (const driver of ["auto", "xdp"] as const) {
        expect(() => open(driver)).toThrow(/ethtool -K ours rxvlan off txvlan off$/);
      }
    });

    test("refuses an interface that another XDP program has", () => {
      namespace.addVeth("ours", "peer", 1500);
      const first = openPorts("xdp", [{ interfaceName: "ours", filter: { kind: "all" } }]);
      const again = (): unknown => openPorts("xdp", [{ interfaceName: "ours", filter: { kind: "all" } }]);
      expect(again).toThrow(SynwallError);
      expect(again).toThrow(/Cannot open ours with xdp: .* another XDP program or socket holds it/);
      const driver = openPorts("auto", [{ interfaceName: "ours", filter: { kind: "all" } }]);
      expect(driver.reason).toMatch(/^cap, because xdp was refused: Cannot open ours with xdp/);
      for (const opened of [first, driver]) opened.ports[0]!.close();
    });

    test("hears all receive queues of an interface", async () => {
      namespace.addVeth("ours", "peer", 1500, 2);
      namespace.ip("address", "add", "10.9.0.2/24", "dev", "peer");
      namespace.ip("neighbour", "add", "10.9.0.1", "lladdr", "02:00:00:00:00:01", "dev", "peer");
      const opened = openPorts("xdp", [{ interfaceName: "ours", filter: { kind: "all" } }]);
      const port = opened.ports[0]!;
      const batch = { at: new Uint32Array(8), lengthBytes: new Uint32Array(8) };
      const senders = Array.from({ length: 16 }, () => createSocket("udp4"));
      await Promise.all(
        senders.map((sender) => new Promise((resolve) => sender.send("x", 7, "10.9.0.1", resolve))),
      );
      let count = 0;
      while (count < senders.length) {
        const received = port.receive(batch, 8);
        for (let i = 0; i < received; i++) opened.pool.free(batch.at[i]!);
        count += received;
        await nextTurn();
      }
      for (const sender of senders) sender.close();
      port.close();
      expect(opened.pool.available()).toBe(opened.pool.chunks);
    });
  });
}
