/**
 * What drivers on real interfaces must do besides the port suite: refuse with one clear line, leave nothing behind, and
 * vanish with a killed process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SynwallError } from "../../src/base/errors.ts";
import { openPorts } from "../../src/io/open.ts";
import type { Port } from "../../src/io/port.ts";
import { patternFrame, putFrame } from "./port-frames.ts";
import { Namespace } from "./port-worlds.ts";

const THREAD = new URL("./port-thread.ts", import.meta.url).href;
const CHILD = fileURLToPath(new URL("./port-child.ts", import.meta.url));

export function describeInterfaces(driver: "xdp" | "cap"): void {
  describe(`opening ${driver} ports`, () => {
    let namespace: Namespace;
    beforeEach(() => {
      namespace = new Namespace();
      namespace.addVeth("ours", "peer", 1500);
      namespace.enter();
    });
    afterEach(() => namespace.close());

    const refusalOf = (...names: string[]): SynwallError => {
      const before = openFiles();
      try {
        openPorts(
          driver,
          names.map((interfaceName) => ({ interfaceName, filter: { kind: "all" } })),
        );
      } catch (error) {
        expect(error).toBeInstanceOf(SynwallError);
        expect((error as SynwallError).message).not.toContain("\n");
        expect(openFiles()).toBe(before);
        return error as SynwallError;
      }
      return expect.unreachable("the ports were opened");
    };

    test("refuses an interface that is missing", () => {
      const refusal = refusalOf("ours", "nowhere");
      expect(refusal.code).toBe("SW_IO_INTERFACE");
      expect(refusal.message).toContain("Cannot open nowhere");
      expect(namespace.ip("-d", "link", "show", "ours")).not.toContain("xdp");
    });

    test("refuses a name that no interface can have", () => {
      expect(refusalOf("a-name-that-is-too-long").code).toBe("SW_IO_INTERFACE");
      expect(refusalOf("").code).toBe("SW_IO_INTERFACE");
    });

    test("refuses an interface that is down, and says how to switch it on", () => {
      namespace.ip("link", "set", "ours", "down");
      const refusal = refusalOf("peer", "ours");
      expect(refusal.code).toBe("SW_IO_INTERFACE");
      expect(refusal.message).toContain("ip link set ours up");
      expect(namespace.ip("-d", "link", "show", "peer")).not.toContain("xdp");
    });

    test("refuses an MTU whose frames fit no chunk", () => {
      namespace.ip("link", "set", "ours", "mtu", "9000");
      expect(refusalOf("ours").message).toContain("MTU must be at most 1774, and is 9000");
    });

    test("refuses what is not Ethernet", () => {
      namespace.ip("link", "set", "lo", "up");
      expect(refusalOf("lo").message).toContain("must be an Ethernet interface");
    });

    test("leaves no descriptor behind when it is closed", async () => {
      const open = (): void => {
        const opened = openPorts(driver, [
          { interfaceName: "ours", filter: { kind: "all" } },
          { interfaceName: "peer", filter: { kind: "cluster", udpPorts: [6081] } },
        ]);
        for (const port of opened.ports) port.onReadable(() => {});
        for (const port of opened.ports) port.close();
      };
      open();
      await nextTurn();
      const before = openFiles();
      open();
      await nextTurn();
      expect(openFiles()).toBe(before);
    });

    test("is gone when its process is killed", async () => {
      const child = await startChild(driver, "ours");
      if (driver === "xdp") expect(namespace.ip("-d", "link", "show", "ours")).toContain("xdp");
      child.kill("SIGKILL");
      await once(child, "exit");
      // The kernel, and a helper that learns of it, finish after the process is gone.
      while (namespace.ip("-d", "link", "show", "ours").includes("xdp")) await nextTurn();
      while (namespace.others().length > 0) await nextTurn();
    });

    test("runs in a worker thread", async () => {
      // Node.js 20 loads TypeScript in a thread only when the thread itself asks tsx to.
      const start = `import("tsx/esm/api").then((tsx) => (tsx.register(), import(${JSON.stringify(THREAD)})))`;
      const worker = new Worker(start, { eval: true, workerData: { driver, interfaceName: "ours" } });
      await once(worker, "message");
      const opened = openPorts(driver, [{ interfaceName: "peer", filter: { kind: "all" } }]);
      const peer = opened.ports[0]!;
      const batch = { at: new Uint32Array(64), lengthBytes: new Uint32Array(64) };
      const broadcast = Uint8Array.of(255, 255, 255, 255, 255, 255);
      for (let sequence = 0; sequence < 200; sequence++) {
        const frame = patternFrame(broadcast, peer.mac, sequence, 100);
        peer.send(putFrame(opened.pool, frame), frame.length);
      }
      peer.flush();
      for (let sequence = 0; sequence < 200; ) {
        const count = peer.receive(batch, 64);
        for (let i = 0; i < count; i++, sequence++) {
          expect(opened.pool.view.getUint32(batch.at[i]! + 14)).toBe(sequence);
          opened.pool.free(batch.at[i]!);
        }
        peer.flush();
        await nextTurn();
      }
      peer.close();
      worker.postMessage("stop");
      expect(await once(worker, "exit")).toEqual([0]);
    });

    test("goes on when its interface was switched off and on", async () => {
      const opened = openPorts(driver, [
        { interfaceName: "ours", filter: { kind: "all" } },
        { interfaceName: "peer", filter: { kind: "all" } },
      ]);
      const [ours, peer] = opened.ports as [Port, Port];
      const batch = { at: new Uint32Array(8), lengthBytes: new Uint32Array(8) };
      namespace.ip("link", "set", "ours", "down");
      expect(ours.carrier()).toBe(false);
      for (let sequence = 0; sequence < 3; sequence++) {
        ours.send(putFrame(opened.pool, patternFrame(peer.mac, ours.mac, sequence, 60)), 60);
        ours.flush();
      }
      while (ours.counters.txDropped < 3) await nextTurn();
      expect(ours.counters.txDropped).toBe(3);
      namespace.ip("link", "set", "ours", "up");
      while (!ours.carrier()) await nextTurn();
      // What was sent into nothing must not come late: the first that arrives is one sent after that.
      const heard = async (from: Port, to: Port): Promise<number> => {
        while (to.receive(batch, 1) === 0) {
          from.send(putFrame(opened.pool, patternFrame(to.mac, from.mac, 77, 60)), 60);
          from.flush();
          await nextTurn();
        }
        return opened.pool.view.getUint32(batch.at[0]! + 14);
      };
      expect(await heard(ours, peer)).toBe(77);
      expect(await heard(peer, ours)).toBe(77);
      for (const port of opened.ports) port.close();
    });

    test("says so when its interface was taken away, and stays quiet", async () => {
      const opened = openPorts(driver, [{ interfaceName: "ours", filter: { kind: "all" } }]);
      const port = opened.ports[0]!;
      port.onReadable(() => {});
      namespace.ip("link", "del", "ours");
      while (port.carrier()) await nextTurn();
      port.send(opened.pool.alloc(), 60);
      port.flush();
      for (let turn = 0; turn < 100; turn++) await nextTurn();
      port.close();
      expect(opened.pool.available()).toBe(opened.pool.chunks);
    });
  });
}

/** Starts port-child.ts in this thread's namespace; resolves when its port is open. */
async function startChild(driver: "xdp" | "cap", interfaceName: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--import", "tsx", CHILD, driver, interfaceName], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = (await once(child.stdout!, "data")) as [Buffer];
  expect(said.toString()).toMatch(/^ready/);
  return child;
}

function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}
