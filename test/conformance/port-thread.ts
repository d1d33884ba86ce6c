/**
 * A worker thread that opens one port and sends every frame back to where it came from, until it is told to stop.
 */
import { parentPort, workerData } from "node:worker_threads";
import { openPorts } from "../../src/io/open.ts";

const { driver, interfaceName } = workerData as { driver: "xdp" | "cap"; interfaceName: string };
const { pool, ports } = openPorts(driver, [{ interfaceName, filter: { kind: "all" } }]);
const port = ports[0]!;
const batch = { at: new Uint32Array(64), lengthBytes: new Uint32Array(64) };

port.onReadable(() => {
  for (let count = port.receive(batch, 64); count > 0; count = port.receive(batch, 64)) {
    for (let i = 0; i < count; i++) {
      const at = batch.at[i]!;
      pool.bytes.copyWithin(at, at + 6, at + 12);
      pool.bytes.set(port.mac, at + 6);
      port.send(at, batch.lengthBytes[i]!);
    }
    port.flush();
  }
});
parentPort?.on("message", () => {
  port.close();
  parentPort?.close();
});
parentPort?.postMessage("ready");
