/**
 * eBPF assembler: turns instructions with labels into the 8-byte words that bpf(2) loads. Owns the encoding, not what a
 * program means (programs.ts). Only the instructions that our programs use.
 *
 *   | opcode u8 | source << 4 | destination | offset s16 LE | immediate s32 LE |
 */
import { assert } from "../../base/assert.ts";

export const INSTRUCTION_BYTES = 8;

/** Registers: r0 is the answer, r1..r5 are arguments, r1 is the context at the start. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

const LOAD_OPCODES = { 1: 0x71, 2: 0x69, 4: 0x61 } as const;
const STORE_HALF = 0x6b;
const STORE_IMMEDIATE_OPCODES = { 2: 0x6a, 4: 0x62 } as const;
const LOAD_MAP = 0x18;
const PSEUDO_MAP_FD = 1;
const MOVE_IMMEDIATE = 0xb7;
const MOVE_REGISTER = 0xbf;
const ADD_IMMEDIATE = 0x07;
const AND_IMMEDIATE = 0x57;
const JUMP = 0x05;
const JUMP_EQUAL = 0x15;
const JUMP_NOT_EQUAL = 0x55;
const JUMP_GREATER_REGISTER = 0x2d;
const CALL = 0x85;
const EXIT = 0x95;

interface Instruction {
  readonly opcode: number;
  readonly destination: number;
  readonly source: number;
  readonly offset: number;
  readonly immediate: number;
  readonly jumpTo?: string;
}

export class Assembler {
  readonly #instructions: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  /** Names the next instruction. */
  label(name: string): this {
    assert(!this.#labels.has(name), `label ${name} is given twice`);
    this.#labels.set(name, this.#instructions.length);
    return this;
  }

  /** destination = the 1, 2 or 4 bytes at [source + offset], in the machine's order. */
  load(sizeBytes: 1 | 2 | 4, destination: Register, source: Register, offset: number): this {
    return this.#add(LOAD_OPCODES[sizeBytes], destination, source, offset, 0);
  }

  /** The 2 bytes at [destination + offset] = source, in the machine's order. */
  storeHalf(destination: Register, offset: number, source: Register): this {
    return this.#add(STORE_HALF, destination, source, offset, 0);
  }

  /** The 2 or 4 bytes at [destination + offset] = immediate, in the machine's order. */
  storeImmediate(sizeBytes: 2 | 4, destination: Register, offset: number, immediate: number): this {
    return this.#add(STORE_IMMEDIATE_OPCODES[sizeBytes], destination, 0, offset, immediate);
  }

  /** destination = the map behind a file descriptor (two words). */
  loadMap(destination: Register, mapFd: number): this {
    return this.#add(LOAD_MAP, destination, PSEUDO_MAP_FD, 0, mapFd).#add(0, 0, 0, 0, 0);
  }

  moveImmediate(destination: Register, immediate: number): this {
    return this.#add(MOVE_IMMEDIATE, destination, 0, 0, immediate);
  }

  moveRegister(destination: Register, source: Register): this {
    return this.#add(MOVE_REGISTER, destination, source, 0, 0);
  }

  addImmediate(destination: Register, immediate: number): this {
    return this.#add(ADD_IMMEDIATE, destination, 0, 0, immediate);
  }

  andImmediate(destination: Register, immediate: number): this {
    return this.#add(AND_IMMEDIATE, destination, 0, 0, immediate);
  }

  jump(label: string): this {
    return this.#add(JUMP, 0, 0, 0, 0, label);
  }

  jumpIfEqual(register: Register, immediate: number, label: string): this {
    return this.#add(JUMP_EQUAL, register, 0, 0, immediate, label);
  }

  jumpIfNotEqual(register: Register, immediate: number, label: string): this {
    return this.#add(JUMP_NOT_EQUAL, register, 0, 0, immediate, label);
  }

  /** Jumps when `left` is greater than `right`, unsigned. */
  jumpIfGreater(left: Register, right: Register, label: string): this {
    return this.#add(JUMP_GREATER_REGISTER, left, right, 0, 0, label);
  }

  /** r0 = helper(r1..r5); r1..r5 are lost. */
  call(helper: number): this {
    return this.#add(CALL, 0, 0, 0, helper);
  }

  exit(): this {
    return this.#add(EXIT, 0, 0, 0, 0);
  }

  assemble(): Uint8Array {
    const code = new Uint8Array(this.#instructions.length * INSTRUCTION_BYTES);
    const view = new DataView(code.buffer);
    this.#instructions.forEach((instruction, index) => {
      const at = index * INSTRUCTION_BYTES;
      view.setUint8(at, instruction.opcode);
      view.setUint8(at + 1, (instruction.source << 4) | instruction.destination);
      view.setInt16(at + 2, this.#offsetOf(instruction, index), true);
      view.setInt32(at + 4, instruction.immediate, true);
    });
    return code;
  }

  #offsetOf(instruction: Instruction, index: number): number {
    if (instruction.jumpTo === undefined) return instruction.offset;
    const target = this.#labels.get(instruction.jumpTo);
    assert(target !== undefined, `label ${instruction.jumpTo} is nowhere`);
    // The kernel refuses loops that it cannot bound; ours have none.
    assert(target > index, `jump to ${instruction.jumpTo} goes back`);
    return target - index - 1;
  }

  #add(
    opcode: number,
    destination: number,
    source: number,
    offset: number,
    immediate: number,
    jumpTo?: string,
  ): this {
    const instruction = { opcode, destination, source, offset, immediate };
    this.#instructions.push(jumpTo === undefined ? instruction : { ...instruction, jumpTo });
    return this;
  }
}
