/**
 * Media of a call: datagrams to one address and port at a steady rate, and how many of them came back.
 */
import { createSocket } from "node:dgram";

export interface MediaArguments {
  readonly address: string;
  readonly port: number;
  readonly perSecond: number;
  readonly seconds: number;
}

export interface MediaReport {
  readonly sent: number;
  readonly echoed: number;
}

/** As an RTP packet of 20 ms of speech. */
const PACKET_BYTES = 172;
const LAST_ECHO_MS = 500;

const { address, port, perSecond, seconds } = JSON.parse(process.argv[2] ?? "{}") as MediaArguments;
const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
const heard = new Set<number>();
const total = Math.ceil(seconds * perSecond);
let sent = 0;

socket.on("message", (message) => {
  if (message.length >= 4) heard.add(message.readUInt32BE(0));
});
socket.on("error", () => undefined); // A refusal shows as an echo that is missing.

const timer = setInterval(() => {
  const packet = Buffer.alloc(PACKET_BYTES);
  packet.writeUInt32BE(sent++, 0);
  socket.send(packet, port, address, () => undefined);
  if (sent < total) return;
  clearInterval(timer);
  setTimeout(report, LAST_ECHO_MS);
}, 1000 / perSecond);

function report(): void {
  const result: MediaReport = { sent, echoed: heard.size };
  process.stdout.write(JSON.stringify(result), () => process.exit(0));
}
