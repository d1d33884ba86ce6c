import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { SynwallError } from "../../../src/base/errors.ts";
import { formatJournal } from "../../../src/cli/commands/journal.ts";
import { formatLag } from "../../../src/cli/commands/lag.ts";
import { formatStatus } from "../../../src/cli/commands/status.ts";
import type { FlowFilter, FlowView } from "../../../src/node/admin-model.ts";
import { PAIR, run, withAdmin } from "./admin.ts";

const FLOW: FlowView = {
  protocol: "tcp",
  state: "established",
  original: { source: "10.10.0.5:40000", destination: "198.51.100.100:80" },
  reply: { source: "198.51.100.100:80", destination: "198.51.100.10:51234" },
  slot: 7,
  owner: "fw1",
  isReplica: false,
  ageMs: 12_000,
  expiresInMs: 7_428_000,
  rule: "out",
};

describe("sync", () => {
  test("--full asks for everything, or for one backup's part", async () => {
    const asked: unknown[] = [];
    const answer = { "sync.full": (params: object) => ({ slots: asked.push(params) === 1 ? 32 : 0 }) };
    await withAdmin(answer, async (socket) => {
      expect((await run("sync", "--full", "--socket", socket)).out).toMatch(/^32 slots are being sent again/);
      const one = await run("sync", "--full", "fw2", "--socket", socket);
      expect(one.out).toMatch(/^no slot is sent again/);
    });
    expect(asked).toEqual([{}, { peer: "fw2" }]);
  });

  test("without --full it says why it does nothing", async () => {
    const { status, err } = await run("sync", "--socket", "/nowhere.sock");
    expect([status, err]).toEqual([
      expect.any(Number),
      expect.stringMatching(/^synwall: sync needs --full: /),
    ]);
    expect(status).not.toBe(0);
  });
});

describe("status", () => {
  test("shows members, sync, alerts and drops at a glance", () => {
    expect(formatStatus(PAIR)).toBe(
      `cluster edge, seen from node fw1: epoch 12, leader fw2, term 3; Synwall 0.1.0, up 3 h 12 min
OK: every slot has an owner and, where two nodes are up, a proven backup.
  ! eth2: no carrier: the node gave its slots up: check the cable

MEMBER   ROLE     STATE   OWNS  BACKS UP  HEARD ON
fw1 *    node     active    32        32  (this one)
fw2      node     active    32        32  cluster, eth1; silent on eth2
witness  witness  active     -         -  nothing: silent on all links

SYNC TO  STREAM         LAG  RECORDS  BYTES  ACK P50      P99      MAX  RESYNCS
fw2      connected  0.42 ms        3  480 B  0.30 ms  1.10 ms  4.00 ms        1

NAT ADDRESS    PORTS IN USE  REFUSED
198.51.100.11             7        3  no longer in the policy: until its flows end
198.51.100.10         1,204        0

lease   valid for 143 ms
flows   12,034 of 262,144 (5 %); driver xdp, real-time
ports   eth1 (inside) up, eth2 (outside) NO CARRIER
drops   denied 120, no_neighbour 3
`,
    );
  });

  test("tells of flows that would have been lost with the node", () => {
    const shown = formatStatus({
      ...PAIR,
      dataplane: { ...PAIR.dataplane!, unprotected: { noPeer: 1000, deadline: 190, holdFull: 10 } },
    });
    expect(shown).toMatch(
      /^risk {4}1,200 flows since the start went on before a backup held them: no backup was up for 1,000, it was too slow for 200$/m,
    );
    expect(formatStatus(PAIR)).not.toContain("risk");
  });

  test("says first what forbids to stop a node", () => {
    const second = (text: string): string => text.split("\n")[1]!;
    expect(second(formatStatus({ ...PAIR, isSettled: false }))).toMatch(
      /^SETTLING: .*Do not stop a node now/,
    );
    expect(second(formatStatus({ ...PAIR, isReady: false }))).toMatch(/^NOT READY: /);
    expect(second(formatStatus({ ...PAIR, lease: { validForMs: 0, isFenced: true } }))).toMatch(/^FENCED: /);
  });

  test("of many pool addresses shows those that refused and those used most, and how many more there are", () => {
    const nat = Array.from({ length: 40 }, (_, i) => ({
      address: `198.51.100.${i}`,
      portsInUse: i,
      refused: i === 5 ? 1 : 0,
      isRetired: false,
    }));
    const shown = formatStatus({ ...PAIR, dataplane: { ...PAIR.dataplane!, nat } });
    const addresses = [...shown.matchAll(/^198\.51\.100\.(\d+)/gm)].map(([, host]) => Number(host));
    expect(addresses).toEqual([5, ...Array.from({ length: 15 }, (_, i) => 39 - i)]);
    expect(shown).toContain("\n24 more: --json shows all\n");
  });

  test("a witness has neither lease nor dataplane", () => {
    const { lease: _lease, dataplane: _dataplane, ...witness } = PAIR;
    expect(formatStatus({ ...witness, role: "witness" })).not.toMatch(/lease|flows|drops/);
  });

  test("--json prints the node's answer", async () => {
    await withAdmin({ status: () => PAIR }, async (socket) => {
      const { status, out } = await run("status", "--json", "--socket", socket);
      expect([status, JSON.parse(out)]).toEqual([0, PAIR]);
    });
  });
});

describe("flows", () => {
  test("list hands the filter on and shows what is translated", async () => {
    let asked: FlowFilter = {};
    const answer = (filter: FlowFilter) => {
      asked = filter;
      return { flows: [FLOW], total: 3 };
    };
    await withAdmin({ "flows.list": answer }, async (socket) => {
      const { out } = await run(
        "flows",
        "list",
        "--socket",
        socket,
        "--port",
        "80",
        "--role",
        "own",
        "--source",
        "10.10.0.5",
      );
      expect(asked).toEqual({ port: 80, role: "own", source: "10.10.0.5", limit: 50 });
      expect(out).toBe(
        `PROTO  STATE        FROM             TO                 TRANSLATED                OWNER  SLOT     AGE    ENDS IN  RULE
tcp    established  10.10.0.5:40000  198.51.100.100:80  from 198.51.100.10:51234  fw1       7  12.0 s  2 h 3 min  out
2 more: narrow the filter, or raise --limit
`,
      );
    });
  });

  test("count shows own flows and replicas", async () => {
    const counts = { total: 1200, own: 700, replica: 500, byProtocol: { tcp: 1000, udp: 200 } };
    await withAdmin({ "flows.count": () => counts }, async (socket) => {
      const { out } = await run("flows", "count", "--socket", socket);
      expect(out).toBe(
        "flows    1,200\nown      700, decided here\nreplica  500, held for another node\nof them  tcp 1,000, udp 200\n",
      );
    });
  });
});

describe("policy apply", () => {
  test("names the file by its whole path, and says what holds and what is left to do", async () => {
    let asked = "";
    const answer = ({ config }: { config: string }) => {
      asked = config;
      return { rules: 3, fingerprint: "a1b2c3d4e5f6", notes: ["fw1.yaml:7: nothing uses it"] };
    };
    await withAdmin({ "policy.apply": answer }, async (socket) => {
      const { status, out } = await run("policy", "apply", "--config", "fw1.yaml", "--socket", socket);
      expect([status, asked]).toEqual([0, resolve("fw1.yaml")]);
      expect(out).toBe(
        "fw1.yaml:7: nothing uses it\npolicy a1b2c3d4 with 3 rules holds; do the same on the other nodes\n",
      );
    });
  });

  test("a mistake is what the node says of it, and exit status 2, as of `synwall check`", async () => {
    const line = 'fw1.yaml:101: rules[0].action: "acept" does not fit: write one of accept, drop, reject';
    const refuse = (): never => {
      throw new SynwallError("SW_CONFIG_INVALID", line);
    };
    await withAdmin({ "policy.apply": refuse }, async (socket) => {
      const { status, out, err } = await run("policy", "apply", "--config", "fw1.yaml", "--socket", socket);
      expect([status, out]).toEqual([2, ""]);
      expect(err).toContain(line);
      expect(err.trimEnd().split("\n")).toHaveLength(1);
    });
  });
});

describe("drain and rejoin", () => {
  test("drain says what may be done next", async () => {
    await withAdmin({ drain: ({ node }) => ({ epoch: node === "fw1" ? 14 : 0 }) }, async (socket) => {
      const { status, out } = await run("drain", "fw1", "--socket", socket);
      expect(status).toBe(0);
      expect(out).toContain("fw1 is drained (epoch 14): it owns nothing and may be stopped");
    });
  });

  test("a refusal is one line and exit status 1", async () => {
    const refuse = (): never => {
      throw new SynwallError("SW_CONTROL_REFUSED", 'Cannot drain "fw1": needs another active node, has none');
    };
    await withAdmin({ rejoin: refuse }, async (socket) => {
      const { status, out, err } = await run("rejoin", "fw1", "--socket", socket);
      expect([status, out, err]).toEqual([
        1,
        "",
        'synwall: Cannot drain "fw1": needs another active node, has none\n',
      ]);
    });
  });
});

test("journal shows wall time, epoch and what happened", () => {
  const event = {
    atMs: 5,
    wallMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    kind: "peer-down",
    epoch: 4,
    node: 2,
    slots: [1, 3],
    text: "fw2 is silent",
  } as const;
  expect(formatJournal({ nowMs: 10, events: [event] })).toBe(
    "TIME (UTC)               EPOCH  EVENT      WHAT\n2026-01-02 03:04:05.678      4  peer-down  fw2 is silent [2 slots]\n",
  );
});

test("lag shows the present value and quantiles by peer", () => {
  const samples = Array.from({ length: 100 }, (_, i) => ({ atMs: i, peer: 2, lagMs: (i * 7) % 100 }));
  const text = formatLag(
    { samples, ack: { count: 5000, p50Ms: 0.4, p99Ms: 1.5, maxMs: 9 } },
    new Map([[2, "fw2"]]),
  );
  expect(text).toBe(
    "LAG TO  SAMPLES    NOW    P50    P99    MAX\nfw2         100  93 ms  49 ms  98 ms  99 ms\nacknowledged 5,000 changes: p50 0.40 ms, p99 1.50 ms, worst 9.00 ms\n",
  );
});
