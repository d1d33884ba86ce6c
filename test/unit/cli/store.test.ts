/**
 * The store of the site on the command line: `synwall store init`, and what `synwall status` says of it.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatStatus } from "../../../src/cli/commands/status.ts";
import { ETCD, EtcdServer } from "../../support/etcd.ts";
import { Site } from "../config/site.ts";
import { PAIR, run } from "./admin.ts";

const site = new Site();
afterAll(() => site.remove());

const kept = (url: string): Record<string, string> => ({
  "  store: raft": `  etcd: { endpoints: [${url}], timeout: 2s }\n  store: etcd`,
});

const init = (config: string): ReturnType<typeof run> => run("store", "init", "--config", config);

test("store init says that there is nothing to begin where the members keep the log", async () => {
  const config = site.configure("fw1");
  const { status, out, err } = await init(config);
  expect([status === 0, out]).toEqual([false, ""]);
  expect(err).toBe(
    `synwall: ${config}: control.store is raft: the members keep the log themselves, and begin it when they start\n`,
  );
});

test("store init names the store that does not answer", async () => {
  const { status, err } = await init(site.configure("fw1", kept("http://127.0.0.1:1")));
  expect([status === 0, err]).toEqual([
    false,
    expect.stringMatching(/^synwall: the store at http:\/\/127\.0\.0\.1:1 does not answer/),
  ]);
});

describe.skipIf(ETCD === undefined)("store init on etcd", () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await EtcdServer.start();
  });
  afterAll(() => server.stop());

  const stored = async (): Promise<string[]> => {
    const [key, rangeEnd] = ["/synwall/", "/synwall0"].map((text) => Buffer.from(text).toString("base64"));
    const { kvs = [] } = await server.post("kv/range", { key, range_end: rangeEnd });
    return (kvs as { key: string; value: string }[]).map(
      ({ key, value }) => `${Buffer.from(key, "base64")} ${Buffer.from(value, "base64")}`,
    );
  };

  test("begins the log once, with any member's configuration; after that nothing is changed", async () => {
    const first = await init(site.configure("witness", kept(server.url)));
    expect(first).toEqual({
      status: 0,
      out: `the log of edge begins in ${server.url} /synwall/edge/; start the members\n`,
      err: "",
    });
    const begun = await stored();
    expect(begun).toEqual([
      expect.stringMatching(/^\/synwall\/edge\/cluster \{"v":1,"id":"[0-9a-f]{16}","slots":64\}$/),
      '/synwall/edge/head {"index":0,"chain":0}',
    ]);
    const again = await init(site.configure("fw1", kept(server.url)));
    expect([again.status === 0, again.out]).toEqual([false, ""]);
    expect(again.err).toMatch(/holds a cluster under \/synwall\/edge\/ already: nothing was changed; /);
    expect(await stored()).toEqual(begun);
  });
});

describe("status", () => {
  const second = (isConnected: boolean, refusal = ""): string =>
    formatStatus({ ...PAIR, store: { place: "https://192.0.2.21:2379", isConnected, refusal } }).split(
      "\n",
    )[1]!;

  test("says where the log is and whether the store answers, before anything else", () => {
    expect(second(true)).toBe("log kept in etcd at https://192.0.2.21:2379: answers");
    expect(second(false)).toBe("log kept in etcd at https://192.0.2.21:2379: DOES NOT ANSWER");
  });

  test("says of a store that holds another log that it is refused, whether it answers or not", () => {
    expect(second(true, "it is empty")).toBe("log kept in etcd at https://192.0.2.21:2379: REFUSED");
    expect(second(false, "it is empty")).toMatch(/REFUSED$/);
  });

  test("says nothing of a store where the members keep the log", () => {
    expect(formatStatus(PAIR)).not.toContain("log kept in");
  });
});
