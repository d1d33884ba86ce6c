/**
 * Probe process: one end of the 1 ms UDP probes. Both ends send a stream of their own on the same flow, so each direction
 * is measured alone. Arguments: JSON { role, server, flows: [{ flow, address }] }; the server's end needs no flows.
 */
import { createSocket, type Socket } from "node:dgram";
import { nowMs } from "../../src/node/clock.ts";
import { reportReady, serveControl } from "./child-control.ts";
import { PROBE_PORT } from "./ports.ts";
import { ProbeLog } from "./probe-log.ts";
import { decodeProbe, encodeProbe, TO_CLIENT, TO_SERVER } from "./probe-packet.ts";

const INTERVAL_MS = 1;
const FLOWS_MAX = 8;

export interface ProbeArguments {
  readonly role: "client" | "server";
  readonly server: string;
  readonly flows: readonly { readonly flow: number; readonly address: string }[];
}

interface ProbeFlow {
  readonly log: ProbeLog;
  readonly socket: Socket;
  /** Where to send; the server learns it from what it hears. */
  peer: { address: string; port: number } | undefined;
}

const given = JSON.parse(process.argv[2] ?? "{}") as ProbeArguments;
const direction = given.role === "client" ? TO_SERVER : TO_CLIENT;
const flows = new Map<number, ProbeFlow>();
let isQuiet = false;

if (given.role === "client") {
  let bound = 0;
  for (const { flow, address } of given.flows) {
    const socket = createSocket("udp4");
    flows.set(flow, { log: new ProbeLog(flow), socket, peer: { address: given.server, port: PROBE_PORT } });
    socket.on("message", hear);
    socket.bind(0, address, () => {
      if (++bound === given.flows.length) begin();
    });
  }
} else {
  const socket = createSocket("udp4");
  socket.on("message", (bytes, from) => hear(bytes, from, socket));
  socket.bind(PROBE_PORT, given.server, begin);
}

serveControl({
  quiet: () => {
    isQuiet = true;
  },
  result: () => ({ flows: Array.from(flows.values(), ({ log }) => log.record()) }),
});

function begin(): void {
  reportReady();
  setInterval(sendAll, INTERVAL_MS);
}

function sendAll(): void {
  if (isQuiet) return;
  for (const [flow, { log, socket, peer }] of flows) {
    const sequence = log.nextSequence();
    if (peer === undefined || sequence < 0) continue;
    log.sent(nowMs());
    // A full queue or a missing neighbour is a lost probe like any other: the log tells.
    socket.send(encodeProbe({ flow, direction, sequence }), peer.port, peer.address, () => undefined);
  }
}

function hear(bytes: Buffer, from: { address: string; port: number }, socket?: Socket): void {
  const atMs = nowMs();
  const probe = decodeProbe(bytes);
  if (probe === undefined || probe.direction === direction) return;
  let flow = flows.get(probe.flow);
  if (flow === undefined) {
    if (socket === undefined || flows.size === FLOWS_MAX) return;
    flow = { log: new ProbeLog(probe.flow), socket, peer: undefined };
    flows.set(probe.flow, flow);
  }
  flow.log.heardProbe(probe.sequence, atMs);
  flow.log.sawPeer(`${from.address}:${from.port}`);
  if (given.role === "server") flow.peer = { address: from.address, port: from.port };
}
