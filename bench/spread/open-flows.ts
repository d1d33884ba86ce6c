/**
 * Opens, or uses again, one UDP flow from each of many IPv6 addresses, as many hosts would: run on the lab's client.
 *
 *   open-flows.ts COUNT SERVER PORT FIRST     sends a datagram from FIRST:0001 and the COUNT - 1 addresses behind it
 */
import { createSocket } from "node:dgram";
import { setTimeout } from "node:timers/promises";

const [count, server, port, first] = process.argv.slice(2);
/** Sockets that are open at a time, and a pause after them: queues on the way must not drop anything. */
const BATCH = 50;
const PAUSE_MS = 10;
/** Always the same one: whoever runs this again uses the flows that there are. */
const SOURCE_PORT = 7777;

for (let from = 1; from <= Number(count); from += BATCH) {
  const to = Math.min(from + BATCH, Number(count) + 1);
  await Promise.all(Array.from({ length: to - from }, (_, i) => send(`${first}:${(from + i).toString(16)}`)));
  await setTimeout(PAUSE_MS);
}

function send(address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp6");
    socket.once("error", reject);
    socket.bind({ address, port: SOURCE_PORT }, () => {
      socket.send("x", Number(port), server, (error) => {
        socket.close();
        if (error === null) resolve();
        else reject(error);
      });
    });
  });
}
