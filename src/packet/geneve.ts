/**
 * GENEVE (RFC 8926) as redirects use it: an inner Ethernet frame and exactly one option. `at` is the GENEVE header.
 *
 *   0           1            2               4           8              12       13     14     16      20
 *   | ver | len | flags      | type 0x6558   | VNI | 0   | option head  | zone   | port | F slot | epoch | inner Ethernet
 *
 * F, the highest bit of the slot's 16: a fragment on its way to where it meets its others, so it may be redirected once more.
 * Slots need ten bits, and nodes that do not know F look at no slot: they take the frame for an ordinary redirect.
 *
 * The option's class 0xff53 is in the range for experiments (section 7); type 1 with the critical bit: who does not know
 * it must drop the packet. Type 2, critical too, marks a sealed redirect: only its sequence is in clear, what type 1 tells stands
 * at the head of what is encrypted, and all that comes before is authenticated with it.
 *
 *   0           8               12          20                                28               end - 16
 *   | GENEVE    | option head   | sequence  | zone | port | F slot | epoch    | inner Ethernet | tag 16 |
 *   `------- authenticated, in clear -------' `------------ encrypted --------------------------'
 */
import { i32, setI32, setU16, u16 } from "./bytes.ts";

export const GENEVE_PORT = 6081;
export const GENEVE_BYTES = 8;
export const OPTION_BYTES = 12;
/** Everything before the inner frame. */
export const GENEVE_HEADER_BYTES = GENEVE_BYTES + OPTION_BYTES;

/** What a sealed redirect has more: what the option tells before the inner frame, and the tag behind it. */
export const SEALED_HEAD_BYTES = 8;
export const SEALED_TAG_BYTES = 16;
export const SEALED_BYTES = SEALED_HEAD_BYTES + SEALED_TAG_BYTES;

const OPTION_CLASS = 0xff53;
/** Type 1, critical. */
const OPTION_TYPE = 0x81;
/** Type 2, critical. */
const OPTION_SEALED = 0x82;
const OPTION_WORDS = OPTION_BYTES / 4;
const OPTION_DATA_WORDS = 2;
const CRITICAL_PRESENT = 0x40;
const PROTOCOL_ETHERNET = 0x6558;
const TO_MEET = 0x8000;

export function write(
  bytes: Uint8Array,
  at: number,
  zone: number,
  port: number,
  slot: number,
  epoch: number,
  isToMeet = false,
): void {
  writeHead(bytes, at, OPTION_TYPE);
  bytes[at + 12] = zone;
  bytes[at + 13] = port;
  setU16(bytes, at + 14, isToMeet ? slot | TO_MEET : slot);
  setI32(bytes, at + 16, epoch);
}

/**
 * Writes the header of a sealed redirect and, behind it, what write() would have told: zone() and the others read it at
 * `at + SEALED_HEAD_BYTES`, before it is encrypted and after it was decrypted. Who seals it sets the sequence.
 */
export function writeSealed(
  bytes: Uint8Array,
  at: number,
  zone: number,
  port: number,
  slot: number,
  epoch: number,
  isToMeet = false,
): void {
  write(bytes, at + SEALED_HEAD_BYTES, zone, port, slot, epoch, isToMeet);
  writeHead(bytes, at, OPTION_SEALED);
}

function writeHead(bytes: Uint8Array, at: number, type: number): void {
  bytes[at] = OPTION_WORDS;
  bytes[at + 1] = CRITICAL_PRESENT;
  setU16(bytes, at + 2, PROTOCOL_ETHERNET);
  setI32(bytes, at + 4, 0);
  setU16(bytes, at + 8, OPTION_CLASS);
  bytes[at + 10] = type;
  bytes[at + 11] = OPTION_DATA_WORDS;
}

/** True when the header is one that write() makes; the caller checked that all of it is there. */
export function isRedirect(bytes: Uint8Array, at: number): boolean {
  return isHead(bytes, at, OPTION_TYPE);
}

/** True when the header is one that writeSealed() makes. */
export function isSealed(bytes: Uint8Array, at: number): boolean {
  return isHead(bytes, at, OPTION_SEALED);
}

function isHead(bytes: Uint8Array, at: number, type: number): boolean {
  return (
    bytes[at] === OPTION_WORDS &&
    (bytes[at + 1]! & 0xc0) === CRITICAL_PRESENT &&
    u16(bytes, at + 2) === PROTOCOL_ETHERNET &&
    u16(bytes, at + 8) === OPTION_CLASS &&
    bytes[at + 10] === type &&
    (bytes[at + 11]! & 0x1f) === OPTION_DATA_WORDS
  );
}

/** Where the sequence of a sealed redirect stands: two words, the high one first. */
export const SEQUENCE_AT = 12;

export function zone(bytes: Uint8Array, at: number): number {
  return bytes[at + 12]!;
}

export function port(bytes: Uint8Array, at: number): number {
  return bytes[at + 13]!;
}

export function slot(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 14) & ~TO_MEET;
}

/** Whether the inner frame is a fragment that is to meet its others here. */
export function isToMeet(bytes: Uint8Array, at: number): boolean {
  return (u16(bytes, at + 14) & TO_MEET) !== 0;
}

export function epoch(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + 16);
}
