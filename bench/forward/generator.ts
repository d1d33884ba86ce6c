/**
 * Generator process of the forwarding bench: an XDP program that the kernel runs on live frames, so that sending costs
 * little of the CPU that the wire needs too. Each frame is one of FLOWS flows at random. Reads counts from stdin, one a
 * line; answers each with {ms}. Arguments: interface, MAC of the next hop.
 */
import { createInterface } from "node:readline";
import { Interface } from "../../src/io/interface.ts";
import { requestRealtime } from "../../src/io/sched.ts";
import { Assembler } from "../../src/io/xdp/assembler.ts";
import { loadProgram, runOnLiveFrames } from "../../src/io/xdp/bpf.ts";
import { FLOW_BITS, FRAME_BYTES, firstFrame, UDP_SOURCE_AT } from "./frames.ts";

const HELPER_RANDOM = 7;
const HELPER_REDIRECT = 23;
const XDP_DROP = 1;
const HEADERS_BYTES = 44;

const [interfaceName, nextHop] = process.argv.slice(2) as [string, string];
const one = new Interface(interfaceName);
const destination = Uint8Array.from(nextHop.split(":"), (part) => Number.parseInt(part, 16));
const frame = firstFrame(destination, one.mac);
const program = loadProgram(assemble());

// As the forwarders: what else runs on the machine shall disturb all variants alike, that is little. Unsteered, the kernel
// forwards in this process's time.
requestRealtime(20);
createInterface({ input: process.stdin }).on("line", (line) => {
  const startMs = performance.now();
  runOnLiveFrames(program, frame, Number(line));
  process.stdout.write(`${JSON.stringify({ ms: performance.now() - startMs })}\n`);
});
process.stdout.write("ready\n");

function assemble(): Uint8Array {
  const view = new DataView(frame.buffer);
  const code = new Assembler()
    .moveRegister(6, 1)
    .call(HELPER_RANDOM)
    .load(4, 2, 6, 0)
    .load(4, 3, 6, 4)
    .moveRegister(4, 2)
    .addImmediate(4, FRAME_BYTES)
    .jumpIfGreater(4, 3, "drop");
  // The kernel sends the same memory again and again, and who forwarded it before has written into it.
  for (let at = 0; at < HEADERS_BYTES; at += 4) code.storeImmediate(4, 2, at, view.getInt32(at, true));
  return code
    .andImmediate(0, FLOW_BITS)
    .addImmediate(0, view.getUint16(UDP_SOURCE_AT, true))
    .storeHalf(2, UDP_SOURCE_AT, 0)
    .moveImmediate(1, one.index)
    .moveImmediate(2, 0)
    .call(HELPER_REDIRECT)
    .exit()
    .label("drop")
    .moveImmediate(0, XDP_DROP)
    .exit()
    .assemble();
}
