/**
 * Conformance of key-value stores: what the driver on a store (cluster/control/kv-driver.ts) may expect of any of them, in memory or
 * etcd.
 */
import { describe, expect, test } from "vitest";
import { endOfPrefix, type Kv, type KvEvent, type KvOperation } from "../../cluster/storage/kv.ts";

export interface KvWorld {
  /** Another client of one store, which all tests share. */
  open(): Kv;
  /** Makes the store forget what was before the present. */
  compact(): Promise<void>;
  /** Waits until `isDone`, at most some seconds. */
  until(isDone: () => boolean): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);
const put = (key: string, value: string): KvOperation => ({ type: "put", key, value: bytes(value) });

export function kvConformance(name: string, makeWorld: () => KvWorld): void {
  let folders = 0;

  describe(name, () => {
    const open = (): { world: KvWorld; kv: Kv; at: string; done: (...kvs: Kv[]) => void } => {
      const world = makeWorld();
      const kv = world.open();
      return {
        world,
        kv,
        at: `/suite/${folders++}/`,
        done: (...more) => {
          for (const one of [kv, ...more]) one.close();
        },
      };
    };
    const doAll = (kv: Kv, ...success: KvOperation[]) => kv.transact({ compare: [], success, failure: [] });

    test("a key that was put is read with the revision that wrote it, by any client", async () => {
      const { world, kv, at, done } = open();
      const { revision } = await doAll(kv, put(`${at}a`, "1"));
      const other = world.open();
      const { reads } = await doAll(other, { type: "get", key: `${at}a` }, { type: "get", key: `${at}b` });
      expect(
        reads.map((pairs) => pairs.map(({ key, modRevision, value }) => [key, modRevision, text(value)])),
      ).toEqual([[[`${at}a`, revision, "1"]], []]);
      done(other);
    });

    test("a range is read in the order of its keys, without its end, no more than was asked for", async () => {
      const { kv, at, done } = open();
      await doAll(kv, put(`${at}02`, "b"), put(`${at}10`, "c"), put(`${at}01`, "a"));
      const { reads } = await doAll(
        kv,
        { type: "get", key: at, to: endOfPrefix(at) },
        { type: "get", key: `${at}02`, to: `${at}10` },
        { type: "get", key: at, to: endOfPrefix(at), limit: 2 },
      );
      expect(reads.map((pairs) => pairs.map(({ value }) => text(value)).join(""))).toEqual([
        "abc",
        "b",
        "ab",
      ]);
      done();
    });

    test("a transaction reads what it wrote itself, and all that it writes has one revision", async () => {
      const { kv, at, done } = open();
      const { reads, revision } = await doAll(kv, put(`${at}1`, "x"), put(`${at}2`, "y"), {
        type: "get",
        key: at,
        to: endOfPrefix(at),
      });
      expect(reads[0]!.map(({ value, modRevision }) => [text(value), modRevision])).toEqual([
        ["x", revision],
        ["y", revision],
      ]);
      done();
    });

    test("compares by revision and by value decide which branch is carried out; all must hold", async () => {
      const { kv, at, done } = open();
      const key = `${at}head`;
      const replace = (compare: Parameters<Kv["transact"]>[0]["compare"], value: string) =>
        kv.transact({ compare, success: [put(key, value)], failure: [{ type: "get", key }] });
      expect((await replace([{ key, modRevision: 0 }], "1")).succeeded).toBe(true);
      const refused = await replace([{ key, modRevision: 0 }], "2");
      expect([refused.succeeded, text(refused.reads[0]![0]!.value)]).toEqual([false, "1"]);
      expect((await replace([{ key, value: bytes("1") }], "2")).succeeded).toBe(true);
      expect((await replace([{ key, value: bytes("1") }], "3")).succeeded).toBe(false);
      expect((await replace([{ key: `${at}none`, value: bytes("") }], "3")).succeeded).toBe(false);
      const both = [
        { key, value: bytes("2") },
        { key, modRevision: 1 },
      ];
      expect((await replace(both, "3")).succeeded).toBe(false);
      done();
    });

    test("of many that replace the same head one does", async () => {
      const { world, kv, at, done } = open();
      const key = `${at}head`;
      await doAll(kv, put(key, "0"));
      const others = [world.open(), world.open()];
      const tries = Array.from({ length: 12 }, (_, i) =>
        [kv, ...others][i % 3]!.transact({
          compare: [{ key, value: bytes("0") }],
          success: [put(key, `mine ${i}`)],
          failure: [],
        }),
      );
      const results = await Promise.all(tries);
      expect(results.filter(({ succeeded }) => succeeded)).toHaveLength(1);
      const { reads } = await doAll(kv, { type: "get", key });
      expect(text(reads[0]![0]!.value)).toBe(`mine ${results.findIndex(({ succeeded }) => succeeded)}`);
      done(...others);
    });

    test("a range is deleted, and a deleted key counts as never written", async () => {
      const { kv, at, done } = open();
      await doAll(kv, put(`${at}1`, "x"), put(`${at}2`, "y"), put(`${at}3`, "z"));
      await doAll(kv, { type: "delete", key: `${at}1`, to: `${at}3` });
      const { reads } = await doAll(kv, { type: "get", key: at, to: endOfPrefix(at) });
      expect(reads[0]!.map(({ value }) => text(value))).toEqual(["z"]);
      const { succeeded } = await kv.transact({
        compare: [{ key: `${at}1`, modRevision: 0 }],
        success: [],
        failure: [],
      });
      expect(succeeded).toBe(true);
      done();
    });

    test("reading does not make a revision", async () => {
      const { kv, at, done } = open();
      const { revision } = await doAll(kv, put(`${at}1`, "x"));
      const again = await kv.transact({
        compare: [{ key: `${at}1`, modRevision: revision }],
        success: [{ type: "get", key: `${at}1` }],
        failure: [],
      });
      expect([again.succeeded, again.revision >= revision]).toEqual([true, true]);
      done();
    });

    test("a transaction that writes one key twice is refused whole", async () => {
      const { kv, at, done } = open();
      const twice = doAll(kv, put(`${at}1`, "x"), put(`${at}1`, "y"));
      await expect(twice).rejects.toMatchObject({ name: "KvError", failure: "refused" });
      const { reads } = await doAll(kv, { type: "get", key: `${at}1` });
      expect(reads[0]).toEqual([]);
      done();
    });

    test("a watch tells all changes from its revision on, in their order, those of its prefix only", async () => {
      const { world, kv, at, done } = open();
      const other = world.open();
      const { revision } = await doAll(kv, put(`${at}before`, "0"));
      await doAll(kv, put(`${at}1`, "a"), put(`${at}2`, "b"));
      const seen: KvEvent[] = [];
      const stop = other.watch(at, revision + 1, {
        onEvents: (events) => seen.push(...events),
        onEnd: () => {},
      });
      await doAll(kv, put(`${at.slice(0, -1)}x`, "elsewhere"));
      await doAll(kv, { type: "delete", key: `${at}1` });
      await doAll(kv, put(`${at}3`, "c"));
      await world.until(() => seen.length >= 4);
      expect(seen.map(({ key, value }) => `${key.slice(at.length)}=${text(value)}`)).toEqual([
        "1=a",
        "2=b",
        "1=",
        "3=c",
      ]);
      expect(seen[2]).not.toHaveProperty("value");
      const revisions = seen.map(({ modRevision }) => modRevision - revision);
      expect(revisions).toEqual([1, 1, 3, 4]);
      stop();
      done(other);
    });

    test("a watch from a revision that is forgotten ends instead of missing something", async () => {
      const { world, kv, at, done } = open();
      const { revision } = await doAll(kv, put(`${at}1`, "a"));
      await doAll(kv, put(`${at}1`, "b"));
      await world.compact();
      let why = "";
      kv.watch(at, revision, { onEvents: () => {}, onEnd: (told) => (why = told) });
      await world.until(() => why !== "");
      expect(why).toMatch(/compacted/);
      done();
    });

    test("a watch that was stopped tells nothing more", async () => {
      const { world, kv, at, done } = open();
      let told = 0;
      const { revision } = await doAll(kv, put(`${at}1`, "a"));
      const stop = kv.watch(at, revision + 1, { onEvents: () => told++, onEnd: () => told++ });
      stop();
      await doAll(kv, put(`${at}1`, "b"));
      const witness: KvEvent[] = [];
      kv.watch(at, revision + 1, { onEvents: (events) => witness.push(...events), onEnd: () => {} });
      await world.until(() => witness.length > 0);
      expect(told).toBe(0);
      done();
    });
  });
}
