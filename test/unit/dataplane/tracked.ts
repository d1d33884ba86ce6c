/**
 * A tracked TCP connection for tests: segments in, what the tracker says of each out.
 */
import { F_META, FLAG_RESEED, ROW_WORDS } from "../../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../../src/dataplane/flow-table.ts";
import { TCP_STATE_NAMES, tcpState } from "../../../src/dataplane/tcp-state.ts";
import {
  beginTcp,
  TRACK_CHANGED,
  TRACK_IGNORED,
  TRACK_INVALID,
  TRACK_NEW,
  TRACK_OUT_OF_WINDOW,
  TRACK_RESEEDED,
  TRACK_SAME,
  trackTcp,
} from "../../../src/dataplane/tcp-tracker.ts";
import { type TcpSpec, tcp } from "./frames.ts";
import { TEST_KEY } from "./world.ts";

const NAMES: Readonly<Record<number, string>> = {
  [TRACK_SAME]: "same",
  [TRACK_CHANGED]: "changed",
  [TRACK_RESEEDED]: "reseeded",
  [TRACK_NEW]: "new",
  [TRACK_INVALID]: "invalid",
  [TRACK_OUT_OF_WINDOW]: "window",
  [TRACK_IGNORED]: "ignored",
};

export type Part = Pick<TcpSpec, "flags" | "seq" | "ack" | "window" | "scale" | "payload"> & {
  /** The SYN offers selective acknowledgements (RFC 2018). */
  readonly sackOk?: boolean;
  /** Blocks of a SACK option. */
  readonly sack?: readonly (readonly [number, number])[];
};

/** One tracked connection; "c" is the client's side (original), "s" the server's. */
export class Tracked {
  readonly table = new FlowTable(4, TEST_KEY);
  readonly row = this.table.alloc();

  constructor(opening: Part = { flags: "S", seq: 1000 }) {
    const { bytes, length } = segment(opening);
    beginTcp(this.table, this.row, bytes, 20, length);
  }

  send(side: "c" | "s", part: Part): string {
    const { bytes, length } = segment(part);
    return NAMES[trackTcp(this.table, this.row, side === "c" ? 0 : 1, bytes, 20, length)]!;
  }

  get state(): string {
    return TCP_STATE_NAMES[tcpState(this.table.words, this.row)]!;
  }

  /** The server's ISN is 5000 and both windows are 65535 unless told otherwise. */
  establish(scale?: number, part: Partial<Part> = {}): this {
    this.send("s", { flags: "SA", seq: 5000, ack: 1001, ...(scale === undefined ? {} : { scale }), ...part });
    this.send("c", { flags: "A", seq: 1001, ack: 5001 });
    return this;
  }

  takenOver(): this {
    const meta = this.row * ROW_WORDS + F_META;
    this.table.words[meta] = this.table.words[meta]! | FLAG_RESEED;
    return this;
  }
}

function segment({ sackOk, sack, ...part }: Part): { bytes: Uint8Array; length: number } {
  const plain = tcp({ from: "10.0.0.1", to: "10.0.0.2", sport: 1, dport: 2, ...part });
  const options = [
    ...(sackOk === true ? [1, 1, 4, 2] : []),
    ...(sack === undefined ? [] : [1, 1, 5, 2 + 8 * sack.length, ...sack.flat().flatMap(word)]),
  ];
  // Options go behind those that are there; the tracker reads no checksum.
  const header = (plain[32]! >>> 4) * 4;
  const bytes = Uint8Array.from([
    ...plain.subarray(0, 20 + header),
    ...options,
    ...plain.subarray(20 + header),
  ]);
  bytes[32] = ((header + options.length) / 4) << 4;
  return { bytes, length: bytes.length - 20 };
}

function word(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
}

export const data = (bytes: number): Uint8Array => new Uint8Array(bytes);
