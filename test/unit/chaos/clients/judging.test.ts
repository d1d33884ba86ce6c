import { describe, expect, test } from "vitest";
import { lastCount } from "../../../../chaos/clients/checks/calls.ts";
import { hopsOf } from "../../../../chaos/clients/checks/paths.ts";
import { judgeStream } from "../../../../chaos/clients/checks/streams.ts";
import { Drops } from "../../../../chaos/clients/drops.ts";
import { type FloodSight, judgeFlood } from "../../../../chaos/clients/flood.ts";
import { judgeScan, SCAN_KINDS, type ScanSight } from "../../../../chaos/clients/scans.ts";

const kind = (name: string) => SCAN_KINDS.find((each) => each.name === name)!;

describe("judgeScan()", () => {
  const refused: ScanSight = {
    ...{ probes: 600, sent: 600, answers: 0, leaked: 0, open: [] },
    drops: { denied: 400, bad_destination: 200 },
  };

  test("passes a scan of which every frame was dropped and counted and none answered", () => {
    expect(judgeScan(kind("scan-syn"), refused)).toBe(
      "600 probes in 600 frames, 600 counted (denied 400, bad_destination 200), none answered",
    );
  });

  test.each([
    [{ answers: 1 }, /1 answers/],
    [{ leaked: 1 }, /1 frames got inside/],
    [{ open: ["22"] }, /ports 22 open/],
    [{ drops: { denied: 599 } }, /not all counted/],
    [{ drops: { denied: 601 } }, /not all counted/],
    [{ sent: 599 }, /sent only 599/],
  ])("fails a scan with %j", (flaw, message) => {
    expect(() => judgeScan(kind("scan-syn"), { ...refused, ...flaw })).toThrow(message);
  });

  test.each([600, 1800])("takes %i counts of 600 probes in three fragments each", (counted) => {
    const sight = { ...refused, sent: 1800, drops: { fragment: counted } };
    expect(judgeScan(kind("scan-fragments"), sight)).toMatch(/none answered/);
  });
});

describe("judgeFlood()", () => {
  const withstood: FloodSight = {
    ...{ seconds: 30, synsSent: 3_000_000, flowsMost: 200_000, flowsMax: 262_144, isDownloadRight: true },
    connections: { established: 200, broken: 0 },
    packets: { sent: 60_000, lost: 10 },
    visits: { attempted: 15_000, failed: 0 },
    synsRepeated: 3,
    calls: { attempted: 50, failed: 0 },
    drops: {},
  };
  const broken = (flaw: Partial<FloodSight>): string[] =>
    judgeFlood({ ...withstood, ...flaw }).flatMap(({ check, isKept }) => (isKept ? [] : [check]));

  test("keeps all when nothing was lost", () => {
    expect(broken({})).toEqual([]);
  });

  test.each([
    [{ connections: { established: 200, broken: 1 } }, "flood-established"],
    [{ isDownloadRight: false }, "flood-established"],
    [{ packets: { sent: 60_000, lost: 700 } }, "flood-packets"],
    [{ visits: { attempted: 15_000, failed: 1 } }, "flood-new-inside"],
    [{ synsRepeated: 200 }, "flood-new-inside"],
    [{ calls: { attempted: 50, failed: 1 } }, "flood-new-outside"],
    [{ calls: { attempted: 0, failed: 0 } }, "flood-new-outside"],
    [{ flowsMost: 262_144 }, "flood-table"],
    [{ synsSent: 0 }, "flood-table"],
  ])("with %j it names what was not kept", (flaw, check) => {
    expect(broken(flaw)).toEqual([check]);
  });
});

describe("judgeStream()", () => {
  const calm = { seconds: 10, during: "nothing", silenceMsMax: 1000 } as const;
  const tcp = (bytes: readonly number[]): string =>
    JSON.stringify({
      intervals: bytes.map((each) => ({ sum: { bytes: each } })),
      end: { sum_received: { bytes: bytes.reduce((a, b) => a + b, 0), bits_per_second: 8e6 } },
    });
  const udp = (lost: number): string =>
    JSON.stringify({ end: { sum: { packets: 1000, lost_packets: lost } } });

  test("tells how long a TCP stream stood still, and fails when it never went on", () => {
    expect(judgeStream(calm, "tcp", tcp([1e6, 0, 1e6]))).toBe("2.0 MB, 8 Mbit/s, 1 s without a byte");
    expect(() => judgeStream(calm, "tcp", tcp([1e6, 0, 0]))).toThrow(/stalled after 1.0 MB/);
    expect(() => judgeStream(calm, "tcp", tcp([0]))).toThrow(/nothing arrived/);
  });

  test("allows datagrams to be lost for the silence of a fault, and no longer", () => {
    expect(judgeStream(calm, "udp", udp(10))).toBe("10 of 1000 datagrams lost");
    expect(() => judgeStream(calm, "udp", udp(11))).toThrow(/at most 10/);
    expect(judgeStream({ ...calm, during: "kill" }, "udp", udp(110))).toMatch(/110 of 1000/);
    expect(() => judgeStream({ ...calm, during: "kill" }, "udp", udp(111))).toThrow(/at most 110/);
  });

  test("fails with iperf3's own error", () => {
    expect(() => judgeStream(calm, "tcp", '{"error":"unable to connect"}')).toThrow("unable to connect");
    expect(() => judgeStream(calm, "tcp", "")).toThrow(/said nothing/);
  });
});

test("hopsOf() reads traceroute's lines, with hops that were silent in part or as a whole", () => {
  const text = [
    "traceroute to 203.0.113.10 (203.0.113.10), 6 hops max, 60 byte packets",
    " 1  10.10.0.1  0.249 ms  0.183 ms  0.153 ms",
    " 2  * 198.51.100.200  2.443 ms *",
    " 3  * * *",
    " 4  2001:db8:113::10  2.423 ms !X  2.413 ms  2.399 ms",
  ].join("\n");
  expect(hopsOf(text)).toEqual(["10.10.0.1", "198.51.100.200", undefined, "2001:db8:113::10"]);
});

test("lastCount() reads the last of sipp's cumulative counts", () => {
  const screen = (good: number) => `  Successful call        |        0                  |  ${good}   \n`;
  expect(lastCount(screen(3) + screen(10), "Successful call")).toBe(10);
  expect(lastCount("", "Successful call")).toBe(0);
});

test("Drops leave out what every busy wire has", () => {
  const before = new Drops({ denied: 5, arp: 1, not_for_us: 7 });
  const after = new Drops({ denied: 8, arp: 9, not_for_us: 70, fragment: 2, ttl: 0 });
  expect(after.since(before)).toEqual({ denied: 3, fragment: 2 });
});
