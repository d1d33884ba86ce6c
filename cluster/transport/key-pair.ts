/**
 * Key pair: a member's certificate and its private key, two files that are worth something together only. Owns how they are
 * replaced, so that a process that ends in the middle of it, or a machine that loses its power, leaves the old pair or the new one.
 *
 *   1. key.new and cert.new are written and synced, names too     the old pair holds
 *   2. key.new becomes key                                        key and cert.new fit
 *   3. cert.new becomes cert                                      the new pair holds
 *
 * Names may become durable in another order than they were changed in, so the other half may be the one that is left over. Who
 * reads takes the halves that fit; who starts finishes what was begun. Does not own what else makes the files right (tls.ts).
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { dirname } from "node:path";
import type { StorageFs } from "../storage/fs.ts";

export interface PairFiles {
  readonly cert: string;
  readonly key: string;
}

export interface KeyPair {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

/** The pair to be used, and which half of it still lies beside its place; "" when none does. */
export interface FoundPair extends KeyPair {
  readonly unfinished: "" | "cert" | "key";
}

type PairFs = Pick<StorageFs, "create" | "rename" | "remove" | "read" | "syncFolder">;

/** Where the new half lies until it takes its place. */
function newFile(path: string): string {
  return `${path}.new`;
}

/** Undefined when the files are no pair, and no rotation that was begun explains it. `read` answers undefined for what is not there. */
export function findPair(
  files: PairFiles,
  read: (path: string) => Uint8Array | undefined,
): FoundPair | undefined {
  const [cert, key] = [read(files.cert), read(files.key)];
  return (
    pairOf(cert, key, "") ??
    pairOf(cert, read(newFile(files.key)), "key") ??
    pairOf(read(newFile(files.cert)), key, "cert")
  );
}

/** Replaces both files; until it is done, and when it throws, findPair() finds a whole pair. */
export function replacePair(files: PairFiles, pair: KeyPair, fs: PairFs): void {
  const folders = foldersOf(files);
  // What a former attempt left may be half of the present pair.
  finishPair(files, fs);
  if (files.cert === files.key) {
    write(newFile(files.key), [pair.cert, pair.key], fs);
    fs.rename(newFile(files.key), files.key);
  } else {
    try {
      write(newFile(files.key), [pair.key], fs);
      write(newFile(files.cert), [pair.cert], fs);
      // Before any of them takes its place: the other must be found beside its own.
      for (const folder of folders) fs.syncFolder(folder);
    } catch (error) {
      discard(files, fs);
      throw error;
    }
    fs.rename(newFile(files.key), files.key);
    fs.rename(newFile(files.cert), files.cert);
  }
  for (const folder of folders) fs.syncFolder(folder);
}

/** Finishes what a former process began, and removes what it left. Answers whether there was anything to finish. */
export function finishPair(files: PairFiles, fs: PairFs): boolean {
  const found = findPair(files, (path) => readIfAny(path, fs));
  // Nothing that is known fits: an operator may be at work, so nothing is touched.
  if (found === undefined) return false;
  const { unfinished } = found;
  if (unfinished !== "") {
    fs.rename(newFile(files[unfinished]), files[unfinished]);
    for (const folder of foldersOf(files)) fs.syncFolder(folder);
  }
  discard(files, fs);
  return unfinished !== "";
}

function write(path: string, chunks: readonly Uint8Array[], fs: PairFs): void {
  const file = fs.create(path);
  try {
    file.write(0, chunks);
    file.sync();
  } finally {
    file.close();
  }
}

function discard(files: PairFiles, fs: PairFs): void {
  for (const path of [newFile(files.key), newFile(files.cert)]) {
    if (readIfAny(path, fs) === undefined) continue;
    fs.remove(path);
  }
}

function readIfAny(path: string, fs: PairFs): Uint8Array | undefined {
  try {
    return fs.read(path);
  } catch {
    return undefined;
  }
}

function foldersOf(files: PairFiles): readonly string[] {
  return [...new Set([dirname(files.key), dirname(files.cert)])];
}

function pairOf(
  cert: Uint8Array | undefined,
  key: Uint8Array | undefined,
  unfinished: FoundPair["unfinished"],
): FoundPair | undefined {
  if (cert === undefined || key === undefined) return undefined;
  try {
    const fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(Buffer.from(key)));
    return fits ? { cert, key, unfinished } : undefined;
  } catch {
    return undefined; // One of them cannot be read as what it should be.
  }
}
