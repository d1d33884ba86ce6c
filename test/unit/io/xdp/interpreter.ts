/**
 * A small eBPF machine: runs the programs of src/io/xdp/programs.ts on a frame, and checks what the kernel's verifier
 * checks: no byte outside of the frame is read, no register is read before it is written.
 */

/** What a program did: passed, dropped, or redirected the frame to a queue (with the map's fallback action). */
export type Outcome =
  | { readonly action: number }
  | { readonly redirect: { mapFd: number; queue: number; fallback: number } };

interface PacketPointer {
  readonly packetAt: number;
}
type Value = number | PacketPointer | "context" | { readonly mapFd: number };

export function run(code: Uint8Array, frame: Uint8Array, queue: number): Outcome {
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  const registers: (Value | undefined)[] = [undefined, "context"];
  const frameView = new DataView(frame.buffer, frame.byteOffset, frame.length);
  let provenBytes = 0;
  let redirect: { mapFd: number; queue: number; fallback: number } | undefined;

  const get = (register: number): Value => {
    const value = registers[register];
    if (value === undefined) throw new Error(`r${register} is read before it is written`);
    return value;
  };
  const number = (register: number): number => {
    const value = get(register);
    if (typeof value !== "number") throw new Error(`r${register} is no number`);
    return value;
  };
  const load = (source: Value, offset: number, sizeBytes: number): Value => {
    if (source === "context") {
      if (offset === 0) return { packetAt: 0 };
      if (offset === 4) return { packetAt: frame.length };
      if (offset === 16) return queue;
    } else if (typeof source === "object" && "packetAt" in source) {
      const at = source.packetAt + offset;
      if (at + sizeBytes > provenBytes) throw new Error(`byte ${at} is read, ${provenBytes} are proven`);
      return sizeBytes === 1 ? frameView.getUint8(at) : frameView.getUint16(at, true);
    }
    throw new Error("a load from nowhere");
  };

  for (let pc = 0; ; pc++) {
    const at = pc * 8;
    if (at >= code.length) throw new Error("the program runs out of its end");
    const opcode = view.getUint8(at);
    const destination = view.getUint8(at + 1) & 15;
    const source = view.getUint8(at + 1) >>> 4;
    const offset = view.getInt16(at + 2, true);
    const immediate = view.getInt32(at + 4, true);
    switch (opcode) {
      case 0x61:
        registers[destination] = load(get(source), offset, 4);
        break;
      case 0x69:
        registers[destination] = load(get(source), offset, 2);
        break;
      case 0x71:
        registers[destination] = load(get(source), offset, 1);
        break;
      case 0x18:
        registers[destination] = { mapFd: immediate };
        pc++;
        break;
      case 0xb7:
        registers[destination] = immediate;
        break;
      case 0xbf:
        registers[destination] = get(source);
        break;
      case 0x07: {
        const value = get(destination) as PacketPointer;
        registers[destination] = { packetAt: value.packetAt + immediate };
        break;
      }
      case 0x57:
        registers[destination] = number(destination) & immediate;
        break;
      case 0x05:
        pc += offset;
        break;
      case 0x15:
        if (number(destination) === immediate) pc += offset;
        break;
      case 0x55:
        if (number(destination) !== immediate) pc += offset;
        break;
      case 0x2d: {
        const left = (get(destination) as PacketPointer).packetAt;
        if (left > (get(source) as PacketPointer).packetAt) pc += offset;
        else provenBytes = left;
        break;
      }
      case 0x85:
        if (immediate !== 51) throw new Error(`helper ${immediate} is not known here`);
        redirect = { mapFd: (get(1) as { mapFd: number }).mapFd, queue: number(2), fallback: number(3) };
        registers.fill(undefined, 1, 6);
        registers[0] = 4;
        break;
      case 0x95:
        return number(0) === 4 && redirect !== undefined ? { redirect } : { action: number(0) };
      default:
        throw new Error(`opcode ${opcode.toString(16)} is not known here`);
    }
  }
}
