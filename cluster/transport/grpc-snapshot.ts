/**
 * Snapshots on the wire: a header, then the bytes in chunks, outside of the message stream, so that Raft's heartbeats do not
 * stand behind them. The receiver checks length and CRC before the core hears of it.
 */
import { type ConfState, MalformedError, type MsgSnap } from "raft-ts";
import type { SendSnapshotRequest, SnapshotHeader } from "../../proto/gen/synwall/v1/raft.ts";
import { crc32c } from "../storage/crc32c.ts";
import { confStateToWire } from "./raft-codec.ts";

const CHUNK_BYTES = 65_536;
/** Far above any cluster's state; a peer cannot make this process hold more. */
const SNAPSHOT_BYTES_MAX = 64 * 1_048_576;

export function* snapshotParts(message: MsgSnap): Generator<SendSnapshotRequest, undefined> {
  const { from, to, term, snapshot } = message;
  const { data } = snapshot;
  yield {
    part: {
      $case: "header",
      value: {
        from,
        to,
        term,
        snapshotIndex: snapshot.index,
        snapshotTerm: snapshot.term,
        confState: confStateToWire(snapshot.confState),
        dataBytes: data.length,
        dataCrc: crc32c(data),
      },
    },
  };
  for (let at = 0; at < data.length; at += CHUNK_BYTES) {
    yield { part: { $case: "chunk", value: data.subarray(at, at + CHUNK_BYTES) } };
  }
  return undefined;
}

/** Collects the parts of one snapshot. Throws MalformedError on what does not belong together. */
export class SnapshotCollector {
  #header: SnapshotHeader | undefined;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  add(request: SendSnapshotRequest): void {
    const { part } = request;
    if (part?.$case === "header") {
      if (this.#header !== undefined) throw new MalformedError("Cannot take a snapshot: a second header");
      if (part.value.dataBytes > SNAPSHOT_BYTES_MAX) {
        throw new MalformedError(
          `Cannot take a snapshot of ${part.value.dataBytes} bytes: at most ${SNAPSHOT_BYTES_MAX}`,
        );
      }
      this.#header = part.value;
      return;
    }
    const header = this.#header;
    if (part === undefined || header === undefined) {
      throw new MalformedError("Cannot take a snapshot: expected its header first");
    }
    this.#bytes += part.value.length;
    if (this.#bytes > header.dataBytes) throw new MalformedError("Cannot take a snapshot: too many bytes");
    this.#chunks.push(part.value);
  }

  finish(): MsgSnap {
    const header = this.#header;
    if (header === undefined) throw new MalformedError("Cannot take a snapshot: it has no header");
    const data = new Uint8Array(Buffer.concat(this.#chunks));
    if (data.length !== header.dataBytes || crc32c(data) !== header.dataCrc) {
      throw new MalformedError("Cannot take a snapshot: its bytes do not match its header");
    }
    const { from, to, term, snapshotIndex: index, snapshotTerm } = header;
    const confState: ConfState = header.confState ?? {
      voters: [],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    return { type: "MsgSnap", from, to, term, snapshot: { index, term: snapshotTerm, confState, data } };
  }
}
