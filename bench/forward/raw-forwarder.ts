/**
 * Forwarder process without an engine: what the ports alone cost. Frames of the first interface leave by the second with
 * new MACs. Arguments: driver, inside interface, outside interface, MAC of the server.
 */
import { openPorts } from "../../src/io/open.ts";
import { requestRealtime } from "../../src/io/sched.ts";

const BATCH = 64;

const [driver, inside, outside, server] = process.argv.slice(2) as ["xdp" | "cap", string, string, string];
const filter = { kind: "all" } as const;
const { pool, ports } = openPorts(driver, [
  { interfaceName: inside, filter },
  { interfaceName: outside, filter },
]);
const destination = Uint8Array.from(server.split(":"), (part) => Number.parseInt(part, 16));
const [from, to] = [ports[0]!, ports[1]!];
const batch = { at: new Uint32Array(BATCH), lengthBytes: new Uint32Array(BATCH) };

const breathe = (): void => {
  for (let round = 0; round < 8; round++) {
    const count = from.receive(batch, BATCH);
    for (let i = 0; i < count; i++) {
      const at = batch.at[i]!;
      for (let byte = 0; byte < 6; byte++) {
        pool.bytes[at + byte] = destination[byte]!;
        pool.bytes[at + 6 + byte] = to.mac[byte]!;
      }
      to.send(at, batch.lengthBytes[i]!);
    }
    to.flush();
    if (count < BATCH) break;
  }
  for (let left = to.receive(batch, BATCH); left > 0; left--) pool.free(batch.at[left - 1]!);
  from.flush();
};
// As the dataplane worker does.
requestRealtime(20);
for (const port of ports) port.onReadable(breathe);
process.stdin.on("end", () => process.exit(0)).resume();
process.stdout.write("ready\n");
