import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { GrpcTransport } from "../../../../cluster/transport/grpc.ts";
import { SnapshotCollector, snapshotParts } from "../../../../cluster/transport/grpc-snapshot.ts";
import { fromWire } from "../../../../cluster/transport/raft-codec.ts";
import { checkIs, loadTls } from "../../../../cluster/transport/tls.ts";
import type { TransportHandlers } from "../../../../cluster/transport/transport.ts";
import { StatusResponse } from "../../../../proto/gen/synwall/v1/control.ts";
import { CertificateFolder } from "./certificates.ts";
import { freePort } from "./free-port.ts";
import { until } from "./until.ts";

const folder = new CertificateFolder();
const running: GrpcTransport[] = [];
afterEach(async () => {
  for (const transport of running.splice(0)) await transport.close();
});
afterAll(() => folder.remove());

const MEMBERS = [1, 2].map((id) => ({ id, name: `fw${id}`, address: `127.0.0.${id}` }));

const quiet: TransportHandlers = {
  onRaft: () => {},
  onStatus: () => {
    throw new Error("not asked for");
  },
  onSyncLink: () => {},
  onUnreachable: () => {},
  onSnapshotSent: () => {},
};

function make(id: number, port: number, refused: string[], files = folder.member(`fw${id}`)): GrpcTransport {
  const self = MEMBERS.find((member) => member.id === id)!;
  const transport = new GrpcTransport({
    self,
    peers: MEMBERS.filter((member) => member !== self),
    port,
    tls: loadTls(files, self.name),
    onRefused: (why) => refused.push(why),
  });
  running.push(transport);
  return transport;
}

test("the status of a version that tells of no lost links, no process and nothing heard is understood, and the other way round", () => {
  const process = undefined;
  const known = {
    ...{ node: 1, version: "1", term: 3, commit: 9, applied: 8, state: "leader", lead: 1, epoch: 7 },
    ...{ process, hearing: [] },
  };
  const older = StatusResponse.encode({ ...known, lostLinks: [] }).finish();
  const newer = StatusResponse.encode({ ...known, lostLinks: [1, 63] }).finish();
  // Protobuf writes no empty list, so `older` is what such a version sends; it skips what is behind the bytes that it knows.
  expect(newer.subarray(0, older.length)).toEqual(older);
  expect(StatusResponse.decode(older)).toEqual({ ...known, lostLinks: [] });
  expect(StatusResponse.decode(newer)).toEqual({ ...known, lostLinks: [1, 63] });
  const told = {
    ...{ build: "3f2a", recordVersions: [1, 2], syncVersion: 1, commandVersion: 1, heartbeatVersion: 1 },
    ...{ incarnation: 4, isSupervised: true },
  };
  const newest = StatusResponse.encode({ ...known, lostLinks: [], process: told }).finish();
  expect(newest.subarray(0, older.length)).toEqual(older);
  expect(StatusResponse.decode(newest)).toEqual({ ...known, lostLinks: [], process: told });
  const hearing = [{ link: 2, nodes: [1, 3], hasOthers: true }];
  const hears = StatusResponse.encode({ ...known, lostLinks: [], hearing }).finish();
  expect(hears.subarray(0, older.length)).toEqual(older);
  expect(StatusResponse.decode(hears)).toEqual({ ...known, lostLinks: [], hearing });
});

test("a snapshot for nobody who is known is told as not delivered: Raft waits for word of each", async () => {
  const transport = make(1, await freePort(), []);
  const told: [number, boolean][] = [];
  await transport.start({ ...quiet, onSnapshotSent: (to, isDelivered) => told.push([to, isDelivered]) });
  const confState = { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
  const snapshot = { index: 3, term: 1, confState, data: new Uint8Array() };
  transport.sendSnapshot({ type: "MsgSnap", from: 1, to: 9, term: 1, snapshot });
  await until(() => told.length > 0);
  expect(told).toEqual([[9, false]]);
});

describe("who is let in", () => {
  test("a certificate of the cluster's CA for no member is refused, told and counted", async () => {
    const port = await freePort();
    const refused: string[] = [];
    const told: string[] = [];
    const server = make(1, port, refused);
    await server.start(quiet);
    const stranger = new GrpcTransport({
      self: { id: 2, name: "fw9", address: "127.0.0.2" },
      peers: [MEMBERS[0]!],
      port,
      tls: loadTls(folder.member("fw9"), "fw9"),
      onRefused: (why) => told.push(why),
    });
    running.push(stranger);
    await stranger.start(quiet);
    const come = (): string | undefined => refused.find((line) => !line.includes("answers as"));
    await until(() => come() !== undefined && told.length > 0);
    expect(come()).toMatch(/refused 127\.0\.0\.\d+: its certificate is for "fw9", which is no other member/);
    expect(told[0]).toMatch(/fw1 refused this node/);
    expect(server.counters.refused.stranger).toBeGreaterThan(0);
    expect(stranger.isConnected(1)).toBe(false);
  });

  test("a server that shows another member's certificate is not talked to", async () => {
    const port = await freePort();
    const impostor = new GrpcTransport({
      self: { id: 2, name: "fw9", address: "127.0.0.2" },
      peers: [MEMBERS[0]!],
      port,
      tls: loadTls(folder.member("fw9"), "fw9"),
    });
    running.push(impostor);
    await impostor.start(quiet);
    const client = make(1, port, []);
    let unreachable = 0;
    await client.start({ ...quiet, onUnreachable: () => unreachable++ });
    client.sendRaft({ type: "MsgTimeoutNow", from: 1, to: 2, term: 1 });
    await until(() => unreachable > 0);
    expect(client.isConnected(2)).toBe(false);
    expect(impostor.counters.raftReceived).toBe(0);
  });

  test("members of two CAs talk in both directions while both CAs are in their CA files", async () => {
    const port = await freePort();
    const old = folder.member("fw1");
    const renewed = folder.member("fw2", "new-ca");
    const ca = folder.bundle("ca", "new-ca");
    const first = make(1, port, [], { ...old, ca });
    const second = make(2, port, [], { ...renewed, ca });
    await Promise.all([first.start(quiet), second.start(quiet)]);
    await until(() => first.isConnected(2) && second.isConnected(1));
    const refusals = [first, second].flatMap(({ counters }) => Object.values(counters.refused));
    expect(refusals.every((count) => count === 0)).toBe(true);
  });

  test("a certificate of another CA does not get as far as a message (FPT_ITT.1.1)", async () => {
    const port = await freePort();
    const refused: string[] = [];
    const server = make(1, port, refused);
    await server.start(quiet);
    const foreign = make(2, port, [], folder.member("fw2", "rogue"));
    await foreign.start(quiet);
    const link = foreign.openSyncLink(1);
    let isClosed = false;
    let isOpen = false;
    link.bind({
      onOpen: () => {
        isOpen = true;
      },
      onMessage: () => {},
      onWritable: () => {},
      onClose: () => {
        isClosed = true;
      },
    });
    await until(() => isClosed);
    expect(isOpen).toBe(false);
    expect(foreign.isConnected(1)).toBe(false);
  });

  test.each([
    ["another CA", () => folder.member("fw2", "rogue"), "certificate", /UNABLE_TO|CERT_/],
    ["the past", () => folder.expired("fw2"), "expired", /CERT_HAS_EXPIRED/],
  ] as const)(
    "a certificate of %s is counted and told, though it fails in TLS",
    async (_, certificateOf, reason, why) => {
      const port = await freePort();
      const refused: string[] = [];
      const server = make(1, port, refused);
      await server.start(quiet);
      const files = certificateOf();
      const socket = connectTls({
        host: MEMBERS[0]!.address,
        port,
        ca: readFileSync(folder.file("ca.crt")),
        cert: readFileSync(files.cert),
        key: readFileSync(files.key),
        ALPNProtocols: ["h2"],
        checkServerIdentity: checkIs(MEMBERS[0]!),
      });
      socket.on("error", () => {});
      socket.once("secureConnect", () => socket.write("PRI"));
      await until(() => refused.length > 0);
      socket.destroy();
      expect(server.counters.refused[reason]).toBe(1);
      expect(refused[0]).toMatch(why);
      expect(refused[0]).toMatch(/^refused 127\./);
    },
  );

  test("who connects and goes away again is not counted as refused", async () => {
    const port = await freePort();
    const refused: string[] = [];
    const server = make(1, port, refused);
    await server.start(quiet);
    const socket = connect(port, MEMBERS[0]!.address, () => socket.end());
    await once(socket, "close");
    const speaker = connect(port, MEMBERS[0]!.address, () => speaker.end("GET / HTTP/1.1\r\n\r\n"));
    speaker.on("error", () => {});
    await until(() => refused.length > 0);
    expect(server.counters.refused).toMatchObject({ tls: 1, certificate: 0, expired: 0, stranger: 0 });
  });
});

describe("starting", () => {
  test("on a port that is taken fails with SW_PORT_TAKEN in one line", async () => {
    const port = await freePort();
    const other = await listen(port);
    try {
      await expect(make(1, port, []).start(quiet)).rejects.toMatchObject({
        code: "SW_PORT_TAKEN",
        message: `cluster.ports.grpc: cannot listen on 127.0.0.1:${port}: another process listens there`,
      });
    } finally {
      other.close();
    }
  });

  test("on an address of another machine says so", async () => {
    const transport = new GrpcTransport({
      self: { id: 1, name: "fw1", address: "192.0.2.1" },
      peers: [],
      port: await freePort(),
      tls: loadTls(folder.member("fw1"), "fw1"),
    });
    await expect(transport.start(quiet)).rejects.toThrow(/this machine has no such address/);
  });
});

describe("malformed input", () => {
  test("an unknown Raft message type is refused", () => {
    const wire = { from: 1, to: 2, term: 1, logTerm: 0, index: 0, commit: 0, entries: [], reject: false };
    expect(() => fromWire({ ...wire, type: 99 as never, rejectHint: 0, context: new Uint8Array(0) })).toThrow(
      /not known here/,
    );
  });

  test("a snapshot that is short, long, damaged or headless is refused", () => {
    const confState = { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    const data = new Uint8Array(100_000).fill(5);
    const parts = [
      ...snapshotParts({
        type: "MsgSnap",
        from: 1,
        to: 2,
        term: 1,
        snapshot: { index: 1, term: 1, confState, data },
      }),
    ];
    const collect = (some: typeof parts): unknown => {
      const collector = new SnapshotCollector();
      for (const part of some) collector.add(part);
      return collector.finish();
    };
    expect(parts).toHaveLength(3);
    expect(collect(parts)).toMatchObject({ snapshot: { index: 1 } });
    expect(() => collect(parts.slice(0, 2))).toThrow(/do not match/);
    expect(() => collect([...parts, parts[1]!])).toThrow(/too many bytes/);
    expect(() => collect(parts.slice(1))).toThrow(/header first/);
    expect(() => collect([])).toThrow(/no header/);
    expect(() => collect([parts[0]!, parts[0]!])).toThrow(/second header/);
    const damaged = { part: { $case: "chunk" as const, value: new Uint8Array(65_536).fill(6) } };
    expect(() => collect([parts[0]!, damaged, parts[2]!])).toThrow(/do not match/);
  });
});

function listen(port: number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer().listen(port, "127.0.0.1", () => resolve(server));
  });
}

describe("while it runs", () => {
  test("a peer that is no member any more is cut off and refused, and is let in when it is one again", async () => {
    const port = await freePort();
    const refused: string[] = [];
    const first = make(1, port, refused);
    const second = make(2, port, []);
    const heard: number[] = [];
    await first.start({ ...quiet, onRaft: (from) => heard.push(from) });
    await second.start(quiet);
    await until(() => first.isConnected(2) && second.isConnected(1));
    first.setPeers([]);
    await until(() => refused.length > 0 && !second.isConnected(1));
    expect(refused[0]).toMatch(/which is no other member/);
    expect(first.isConnected(2)).toBe(false);
    first.setPeers([MEMBERS[1]!]);
    await until(() => first.isConnected(2) && second.isConnected(1));
    expect(heard).toEqual([]);
  });

  test("certificates of another CA take over without a connection that breaks; who comes later meets the new ones", async () => {
    const port = await freePort();
    const first = make(1, port, []);
    const second = make(2, port, []);
    await first.start(quiet);
    await second.start(quiet);
    await until(() => first.isConnected(2) && second.isConnected(1));
    folder.sharedCa("next-ca");
    const ca = folder.bundle("ca", "next-ca");
    const renewed = (name: string): ReturnType<typeof loadTls> =>
      loadTls({ ...folder.member(name, "next-ca"), ca: folder.file("next-ca.crt") }, name);
    // First both CAs everywhere, then new certificates, then the new CA alone.
    for (const [transport, name] of [
      [first, "fw1"],
      [second, "fw2"],
    ] as const) {
      transport.setTls(loadTls({ ...folder.member(name), ca }, name));
    }
    first.setTls(renewed("fw1"));
    second.setTls(renewed("fw2"));
    expect([first.isConnected(2), second.isConnected(1)]).toEqual([true, true]);
    expect(first.counters.disconnects + second.counters.disconnects).toBe(0);
    await second.close();
    await until(() => !first.isConnected(2));
    // It believes the new CA alone, so it is shown a new certificate.
    const again = make(2, port, [], { ...folder.member("fw2", "next-ca"), ca: folder.file("next-ca.crt") });
    await again.start(quiet);
    await until(() => first.isConnected(2) && again.isConnected(1));
  });
});
