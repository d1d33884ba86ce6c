/**
 * Founding of a log in a store: it is begun once, by an operator's word, and never by a member that finds nothing: what is empty may
 * have been emptied. Owns what is written then, and how a member learns which log it is to go by.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { type Kv, KvError } from "../storage/kv.ts";
import type { StoreNote } from "../storage/store-note.ts";
import {
  encodePosition,
  FORMAT_VERSION,
  type KvKeys,
  LOG_START,
  type StoreIdentity,
  toJson,
} from "./kv-keys.ts";

type Place = { readonly kv: Kv; readonly keys: KvKeys };

/** Begins a log called `id`. Throws SW_CONTROL_REFUSED when there is one, SW_STORE_UNREACHABLE. */
export async function beginLog(
  { kv, keys }: Place,
  { id, slots }: { id: string; slots: number },
): Promise<void> {
  const { succeeded } = await reached(kv, () =>
    kv.transact({
      compare: [keys.identity, keys.head, keys.snapshot, keys.leader].map((key) => ({ key, modRevision: 0 })),
      success: [
        { type: "put", key: keys.identity, value: toJson({ v: FORMAT_VERSION, id, slots }) },
        { type: "put", key: keys.head, value: encodePosition(LOG_START) },
      ],
      failure: [],
    }),
  );
  if (succeeded) return;
  throw new SynwallError(
    "SW_CONTROL_REFUSED",
    `the store at ${kv.place} holds a cluster under ${keys.root} already: nothing was changed; if it is not needed any more, stop all its members and delete the keys under ${keys.root}`,
  );
}

/**
 * The log that this member is to go by: the one that it noted, else the one that the store holds. Throws SW_STORE_EMPTY when it
 * holds none, SW_STORE_UNREACHABLE. A member that has a note starts while the store is away.
 */
export async function knownLog(place: Place, note: StoreNote): Promise<Pick<StoreIdentity, "id" | "slots">> {
  const { kv, keys } = place;
  const noted = note.read();
  if (noted !== undefined) return { id: noted.id, slots: noted.slots };
  const identity = await heldLog(place);
  if (identity === undefined) {
    throw new SynwallError(
      "SW_STORE_EMPTY",
      `the store at ${kv.place} holds no cluster under ${keys.root}: begin it once with 'synwall store init' on one member, or name the right control.etcd.prefix and cluster.name`,
    );
  }
  note.write({ id: identity.id, slots: identity.slots, ...LOG_START });
  return identity;
}

/** The log that the store holds; undefined: none. Throws SW_STORE_UNREACHABLE. */
export async function heldLog({ kv, keys }: Place): Promise<StoreIdentity | undefined> {
  const { reads } = await reached(kv, () =>
    kv.transact({ compare: [], success: keys.readImage(0, false), failure: [] }),
  );
  return keys.imageOf(reads).identity;
}

async function reached<T>(kv: Kv, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    throw new SynwallError(
      "SW_STORE_UNREACHABLE",
      `the store at ${kv.place} ${error.failure === "refused" ? "refuses" : "does not answer"}: ${error.message}`,
      { place: kv.place },
      error,
    );
  }
}
