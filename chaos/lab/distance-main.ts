/**
 * Distance: a process that is a long wire between two interfaces, which it makes and which are gone when it ends. Each frame that
 * enters at one comes out at the other so many milliseconds later. For kernels that have no netem.
 *
 *   node distance-main.js <near> <far> <milliseconds>
 */
import { poll } from "../../src/io/libc.ts";
import { requestRealtime } from "../../src/io/sched.ts";
import { nowMs } from "../../src/node/clock.ts";
import { Tun } from "../conntrack/tun.ts";
import { DelayLine } from "./delay-line.ts";

/** Above the nodes' threads: it does little, and what it is late by would be taken for distance. */
const REALTIME_PRIORITY = 60;
const FRAMES_MAX = 10_000;
const POLLIN = 1;
const POLLFD_BYTES = 8;
const IDLE_MS = 1_000;

const [near, far, delay] = process.argv.slice(2);
const delayMs = Number(delay);
const ways = [near, far].map((name) => ({
  tap: new Tun(name!, "tap"),
  line: new DelayLine({ delayMs, framesMax: FRAMES_MAX }),
}));
requestRealtime(REALTIME_PRIORITY);

const fds = Buffer.alloc(POLLFD_BYTES * ways.length);
ways.forEach(({ tap }, i) => {
  fds.writeInt32LE(tap.fd, i * POLLFD_BYTES);
  fds.writeInt16LE(POLLIN, i * POLLFD_BYTES + 4);
});

// Never ends by itself: a signal does it.
for (;;) {
  const waitMs = Math.min(IDLE_MS, ...ways.map(({ line }) => line.waitMs(nowMs())));
  poll(fds, ways.length, Math.ceil(waitMs));
  ways.forEach(({ tap, line }, i) => {
    for (let frame = tap.read(); frame !== undefined; frame = tap.read()) line.enter(frame, nowMs());
    const other = ways[1 - i]!.tap;
    for (let frame = line.leave(nowMs()); frame !== undefined; frame = line.leave(nowMs()))
      send(other, frame);
  });
}

/** A device that is not up yet, or has no room, loses a frame, as wires do. */
function send(tap: Tun, frame: Uint8Array): void {
  try {
    tap.write(frame);
  } catch {
    // Lost.
  }
}
