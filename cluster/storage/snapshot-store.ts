/**
 * Snapshot store: the replicated state machine's snapshots on disk, each in a file of its own that is whole or absent.
 * Owns the files; which snapshot counts is said by the WAL's latest marker (durable-storage.ts).
 *
 *   0          8        12       16
 *   | SWSNAP1\n | crc    | length | header: JSON, length bytes | data |       crc: CRC-32C of all that follows it
 */
import type { ConfState, Snapshot } from "raft-ts";
import { crc32c } from "./crc32c.ts";
import type { StorageFs } from "./fs.ts";
import { failed } from "./wal.ts";
import { corrupt } from "./wal-reader.ts";

const MAGIC = new TextEncoder().encode("SWSNAP1\n");
const PREFIX_BYTES = 16;
/** The present one and the one before it. */
const KEEP = 2;

interface Header {
  readonly cluster: string;
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  readonly dataBytes: number;
}

export class SnapshotStore {
  readonly #fs: StorageFs;
  readonly #folder: string;
  readonly #cluster: string;

  constructor(fs: StorageFs, folder: string, cluster: string) {
    this.#fs = fs;
    this.#folder = folder;
    this.#cluster = cluster;
    this.#attempt(() => {
      fs.makeFolder(folder);
      for (const name of fs.list(folder)) if (name.endsWith(".tmp")) fs.remove(`${folder}/${name}`);
    });
  }

  isEmpty(): boolean {
    return !this.#fs.list(this.#folder).some((name) => name.endsWith(".snap"));
  }

  /** The snapshot is durable when this returns. */
  save(snapshot: Snapshot): void {
    const name = fileName(snapshot);
    const temporary = `${this.#folder}/${name}.tmp`;
    this.#attempt(() => {
      const file = this.#fs.create(temporary);
      file.write(0, this.#encode(snapshot));
      file.sync();
      file.close();
      this.#fs.rename(temporary, `${this.#folder}/${name}`);
      this.#fs.syncFolder(this.#folder);
    });
  }

  /** The snapshot that a marker names. Throws SW_STORAGE_CORRUPT when it is absent or damaged. */
  load(index: number, term: number): Snapshot {
    const name = fileName({ index, term });
    const where = `${this.#folder}/${name}`;
    if (!this.#fs.list(this.#folder).includes(name)) throw corrupt(where, "the snapshot is missing");
    const bytes = this.#fs.read(where);
    const snapshot = this.#decode(bytes);
    if (snapshot === undefined || snapshot.index !== index || snapshot.term !== term) {
      throw corrupt(where, "the snapshot is damaged");
    }
    return snapshot;
  }

  /** Removes all but the latest few up to `index`, and those above it: their marker never became durable. */
  purge(index: number): void {
    const found = this.#fs
      .list(this.#folder)
      .map((name) => ({ name, index: Number(/^\d{16}-(\d{16})\.snap$/.exec(name)?.[1] ?? -1) }))
      .filter((file) => file.index >= 0)
      .sort((a, b) => b.index - a.index);
    const kept = found.filter((file) => file.index <= index).slice(0, KEEP);
    const gone = found.filter((file) => !kept.includes(file));
    if (gone.length === 0) return;
    this.#attempt(() => {
      for (const { name } of gone) this.#fs.remove(`${this.#folder}/${name}`);
      this.#fs.syncFolder(this.#folder);
    });
  }

  #encode(snapshot: Snapshot): Uint8Array[] {
    const { index, term, confState, data } = snapshot;
    const header: Header = { cluster: this.#cluster, index, term, confState, dataBytes: data.length };
    const json = new TextEncoder().encode(JSON.stringify(header));
    const prefix = new Uint8Array(PREFIX_BYTES);
    prefix.set(MAGIC);
    const view = new DataView(prefix.buffer);
    view.setUint32(12, json.length, true);
    view.setUint32(8, crc32c(data, crc32c(json, crc32c(prefix.subarray(12)))), true);
    return [prefix, json, data];
  }

  #decode(bytes: Uint8Array): Snapshot | undefined {
    if (bytes.length < PREFIX_BYTES || MAGIC.some((byte, i) => bytes[i] !== byte)) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (crc32c(bytes.subarray(12)) !== view.getUint32(8, true)) return undefined;
    const dataAt = PREFIX_BYTES + view.getUint32(12, true);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX_BYTES, dataAt))) as Header;
    const { cluster, index, term, confState, dataBytes } = header;
    if (cluster !== this.#cluster || bytes.length !== dataAt + dataBytes) return undefined;
    return { index, term, confState, data: new Uint8Array(bytes.subarray(dataAt)) };
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw failed(this.#folder, error);
    }
  }
}

function fileName(snapshot: { readonly index: number; readonly term: number }): string {
  const pad = (n: number): string => String(n).padStart(16, "0");
  return `${pad(snapshot.term)}-${pad(snapshot.index)}.snap`;
}
