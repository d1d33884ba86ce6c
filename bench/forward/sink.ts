/**
 * Sink process of the forwarding bench: the cheapest possible receiver. An XDP program drops (and the interface counts)
 * every frame but ARP, which the kernel answers. Lives until its stdin closes. Argument: interface.
 */
import { Interface } from "../../src/io/interface.ts";
import { Assembler } from "../../src/io/xdp/assembler.ts";
import { attachLink, loadProgram, XDP_FLAGS_NATIVE } from "../../src/io/xdp/bpf.ts";

const XDP_DROP = 1;
const XDP_PASS = 2;
const ARP_AS_LOADED = 0x0608;

const program = new Assembler()
  .load(4, 2, 1, 0)
  .load(4, 3, 1, 4)
  .moveRegister(4, 2)
  .addImmediate(4, 14)
  .jumpIfGreater(4, 3, "drop")
  .load(2, 4, 2, 12)
  .jumpIfEqual(4, ARP_AS_LOADED, "pass")
  .label("drop")
  .moveImmediate(0, XDP_DROP)
  .exit()
  .label("pass")
  .moveImmediate(0, XDP_PASS)
  .exit()
  .assemble();

attachLink(loadProgram(program), new Interface(process.argv[2] ?? "").index, XDP_FLAGS_NATIVE);
process.stdin.on("end", () => process.exit(0)).resume();
process.stdout.write("ready\n");
