/**
 * Probe process: one end of the 1 ms UDP probes (probe-end.ts) on sockets. Arguments: JSON
 * { role, server, flows: [{ flow, address }] }; the server's end needs no flows.
 */
import { createSocket, type Socket, type SocketOptions } from "node:dgram";
import { nowMs } from "../../src/node/clock.ts";
import { reportReady, serveControl } from "./child-control.ts";
import { PROBE_PORT } from "./ports.ts";
import { PROBE_INTERVAL_MS, ProbeEnd, type SendProbe } from "./probe-end.ts";

export interface ProbeArguments {
  readonly role: "client" | "server";
  readonly server: string;
  readonly flows: readonly { readonly flow: number; readonly address: string }[];
}

/** Addresses are numbers: without a look-up that takes a turn of the loop, a probe has left when send() returns. */
const SOCKET: SocketOptions = {
  type: "udp4",
  lookup: (address, _options, found) => found(null, address, 4),
  recvBufferSize: 1 << 22, // The kernel gives what net.core.rmem_max allows: what comes while this process stands still.
};

const given = JSON.parse(process.argv[2] ?? "{}") as ProbeArguments;
const end = new ProbeEnd(given.role, nowMs);

if (given.role === "client") {
  let bound = 0;
  for (const { flow, address } of given.flows) {
    const socket = createSocket(SOCKET);
    end.add(flow, { address: given.server, port: PROBE_PORT }, sendOn(socket));
    socket.on("message", (bytes, from) => end.hear(bytes, from));
    socket.bind(0, address, () => {
      if (++bound === given.flows.length) begin();
    });
  }
} else {
  const socket = createSocket(SOCKET);
  const send = sendOn(socket);
  socket.on("message", (bytes, from) => end.hear(bytes, from, send));
  socket.bind(PROBE_PORT, given.server, begin);
}

serveControl({
  quiet: () => end.quiet(),
  result: () => end.report(),
});

function begin(): void {
  reportReady();
  setInterval(() => {
    end.sendAll();
    setImmediate(() => end.readAll()); // The loop reads its sockets between its timers and this.
  }, PROBE_INTERVAL_MS);
}

/** A full queue or a missing neighbour is a lost probe like any other: the log tells. */
function sendOn(socket: Socket): SendProbe {
  return (bytes, to) => socket.send(bytes, to.port, to.address, () => undefined);
}
