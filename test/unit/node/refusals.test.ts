/**
 * Everybody who may not talk to a member, at every door that it has: refused, told in one line that names who and why, and counted. The
 * table of docs/security.md is this walk.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createServer as createPlain, type Server } from "node:net";
import { join } from "node:path";
import { createServer, type TlsOptions } from "node:tls";
import { status } from "@grpc/grpc-js";
import type { MsgSnap } from "raft-ts";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { clusterHash, type EnvelopeRefusal, EnvelopeWriter } from "../../../cluster/liveness/envelope.ts";
import { Heartbeats } from "../../../cluster/liveness/heartbeats.ts";
import { PROFILES } from "../../../cluster/liveness/model.ts";
import { GrpcTransport } from "../../../cluster/transport/grpc.ts";
import { Lifelines } from "../../../cluster/transport/lifeline.ts";
import { judgeHandshake, type RefusalReason, zeroRefusals } from "../../../cluster/transport/refusals.ts";
import { loadTls } from "../../../cluster/transport/tls.ts";
import { AdminServer } from "../../../src/node/admin-server.ts";
import { senderAt } from "../../../src/node/heartbeat-sender.ts";
import { RefusalLines } from "../../../src/node/refusal-lines.ts";
import { CertificateFolder } from "../cluster/transport/certificates.ts";
import { freePort } from "../cluster/transport/free-port.ts";
import { until } from "../cluster/transport/until.ts";
import {
  answerGarbage,
  call,
  GARBAGE,
  METHOD_NAMES,
  openDoor,
  PEER,
  SELF,
  type Service,
  speak,
  visit,
} from "./refusal-doors.ts";

const folder = new CertificateFolder();
const undo: (() => void)[] = [];
afterEach(() => {
  for (const each of undo.splice(0).reverse()) each();
});
afterAll(() => folder.remove());

const CA = folder.file("ca.crt");
const SERVICES = ["gRPC", "lifeline", "registration"] as const;

/** Who comes, why it is refused, and what the line says besides its address. */
const BAD_PEERS: readonly [
  who: string,
  come: (service: Service, port: number) => () => void,
  reason: RefusalReason,
  why: RegExp,
][] = [
  [
    "no certificate",
    (service, port) => visit(service, port, CA),
    "certificate",
    /did not return a certificate|no certificate/,
  ],
  [
    "an expired certificate",
    (service, port) => visit(service, port, CA, folder.expired(PEER.name)),
    "expired",
    /CERT_HAS_EXPIRED/,
  ],
  [
    "a certificate of another CA",
    (service, port) => visit(service, port, CA, folder.member(PEER.name, "rogue")),
    "certificate",
    /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER/,
  ],
  [
    "a certificate of a name that is no member's",
    (service, port) => {
      if (service !== "gRPC") return visit(service, port, CA, folder.member("fw9"));
      void call("raft: exchange", port, loadTls(folder.member("fw9"), "fw9"));
      return () => {};
    },
    "stranger",
    /"fw9".* is no |"fw9", which is no /,
  ],
  [
    "a certificate of a joined member's name that names no id",
    (service, port) => {
      if (service !== "gRPC") return visit(service, port, CA, folder.member(PEER.name));
      void call("raft: exchange", port, loadTls(folder.member(PEER.name), PEER.name));
      return () => {};
    },
    "stranger",
    /"fw2".* is no |"fw2", which is no /,
  ],
  ["clear text", (_, port) => speak(port, "HTTP/1"), "tls", /http request|wrong version|packet length/i],
  ["HTTP/2 in clear text", (_, port) => speak(port, "HTTP/2"), "tls", /wrong version|packet length/i],
  ["bytes that mean nothing", (_, port) => speak(port, "bytes"), "tls", /wrong version|packet length/i],
  [
    "TLS 1.2 and a right certificate",
    (service, port) => visit(service, port, CA, folder.member(PEER.name), "TLSv1.2"),
    "tls",
    /unsupported protocol/,
  ],
];

describe.each(SERVICES)("the %s port", (service) => {
  describe.each(["as it was started", "after its certificate was changed"])("%s", (when) => {
    test.each(BAD_PEERS)("refuses, tells and counts %s", async (_who, come, reason, why) => {
      const port = await freePort();
      const door = await openDoor(service, port, folder);
      undo.push(() => door.close());
      if (when.startsWith("after")) door.setTls(loadTls(folder.member(SELF.name), SELF.name));
      undo.push(come(service, port));
      await until(() => door.lines.length > 0);
      expect(door.lines).toHaveLength(1);
      expect(door.lines[0]).toMatch(/127\.0\.0\.\d/);
      expect(door.lines[0]).toMatch(why);
      expect(door.lines[0]).toMatch(/^[^\n]*$/);
      expect(door.counts).toEqual({ ...zeroRefusals(), [reason]: 1 });
      expect(door.taken).toEqual([]);
    });
  });
});

describe("every service of the gRPC port", () => {
  test.each(METHOD_NAMES)("%s is refused to a right certificate that is no other member's", async (name) => {
    const port = await freePort();
    const door = await openDoor("gRPC", port, folder);
    undo.push(() => door.close());
    // Of somebody unknown, and of this very member: nobody talks to itself.
    for (const who of ["fw9", SELF.name]) {
      expect(await call(name, port, loadTls(folder.member(who), who))).toBe(status.PERMISSION_DENIED);
    }
    expect(door.lines.map((line) => /is for "(\w+)"/.exec(line)?.[1])).toEqual(["fw9", SELF.name]);
    expect(door.counts.stranger).toBe(2);
    expect(door.taken).toEqual([]);
  });

  test.each(METHOD_NAMES)(
    "%s is refused, told and counted once when a member sends garbage",
    async (name) => {
      const port = await freePort();
      const door = await openDoor("gRPC", port, folder, [SELF.id, PEER.id]);
      undo.push(() => door.close());
      const tls = loadTls(folder.member(PEER.name), PEER.name);
      for (const lines of [1, 2]) {
        expect(await call(name, port, tls, GARBAGE)).toBe(status.INVALID_ARGUMENT);
        expect(door.lines).toHaveLength(lines);
      }
      // The log counts lines that are the same.
      expect(door.lines[0]).toMatch(/^member 2: Cannot take .*: its bytes cannot be decoded$/);
      expect(new Set(door.lines).size).toBe(1);
      expect(door.counts).toEqual({ ...zeroRefusals(), malformed: 2 });
      expect(door.taken.filter((what) => what !== "a replication link of 2")).toEqual([]);
    },
  );

  test.each(METHOD_NAMES)("%s counts a stranger's garbage once, as a stranger's", async (name) => {
    const port = await freePort();
    const door = await openDoor("gRPC", port, folder);
    undo.push(() => door.close());
    expect(await call(name, port, loadTls(folder.member("fw9"), "fw9"), GARBAGE)).toBe(
      status.PERMISSION_DENIED,
    );
    expect([door.lines.length, door.counts]).toEqual([1, { ...zeroRefusals(), stranger: 1 }]);
  });

  test("is not reached by TLS without HTTP/2, even with a member's certificate", async () => {
    const port = await freePort();
    const door = await openDoor("gRPC", port, folder);
    undo.push(() => door.close());
    undo.push(visit("lifeline", port, CA, folder.member(PEER.name)));
    await until(() => door.lines.length > 0);
    expect(door.lines[0]).toMatch(/^refused 127\.0\.0\.\d: it speaks TLS, but no HTTP\/2$/);
    expect(door.counts.tls).toBe(1);
  });
});

test("a handshake that does not come to its end is refused as one without TLS", () => {
  const error = Object.assign(new Error("TLS handshake timeout"), { code: "ERR_TLS_HANDSHAKE_TIMEOUT" });
  expect(judgeHandshake({ error })).toBe("tls");
});

/** Who answers at the address of fw2, when this member calls. */
const IMPOSTORS: readonly [
  who: string,
  tls: () => TlsOptions | undefined,
  reason: RefusalReason,
  why: RegExp,
][] = [
  ["another CA's certificate", () => pem(PEER.name, "rogue"), "certificate", /unable to verify|self.signed/],
  ["an expired certificate", () => expired(PEER.name), "expired", /expired/],
  ["another member's certificate", () => pem("fw3"), "stranger", /is for "fw3", not "fw2"/],
  ["a certificate of its name that names no id", () => pem(PEER.name), "stranger", /for an earlier fw2, not/],
  ["clear text", () => undefined, "tls", /wrong version number|packet length/],
  ["TLS 1.2", () => ({ ...pem(PEER.name), maxVersion: "TLSv1.2" }), "tls", /protocol version|unsupported/],
];

describe("a member that calls", () => {
  test.each(IMPOSTORS)(
    "by gRPC believes nobody who answers with %s, and tells and counts it",
    async (...row) => {
      const [, tls, reason, why] = row;
      const port = await freePort();
      const seen = await impostor(port, tls());
      const lines: string[] = [];
      const own = loadTls(folder.member(SELF.name), SELF.name);
      const caller = new GrpcTransport({
        self: SELF,
        peers: [PEER],
        port,
        tls: own,
        founders: [SELF.id],
        onRefused: (l) => lines.push(l),
      });
      undo.push(() => void caller.close());
      await caller.start(QUIET);
      await until(() => lines.length > 0);
      expect(lines[0]).toMatch(/^refused who answers as fw2 at 127\.0\.0\.2: /);
      expect(lines[0]).toMatch(why);
      expect(caller.counters.refused[reason]).toBeGreaterThan(0);
      expect(caller.isConnected(PEER.id)).toBe(false);
      expect(seen).toEqual([]);
    },
  );

  test.each<[what: string, ask: (caller: GrpcTransport) => unknown]>([
    ["Raft messages", (caller) => caller.sendRaft({ type: "MsgTimeoutNow", from: 1, to: PEER.id, term: 1 })],
    ["a snapshot", (caller) => caller.sendSnapshot(SNAPSHOT)],
    ["a question for the status", (caller) => caller.status(PEER.id, 1_000)],
    ["a request to restart", (caller) => caller.restart(PEER.id, 7, 1_000)],
    ["replication", (caller) => replicate(caller)],
  ])("by gRPC refuses, tells and counts once a member that answers %s with garbage", async (what, ask) => {
    const port = await freePort();
    const lines: string[] = [];
    undo.push(await answerGarbage(PEER.address, port, loadTls(folder.member(PEER.name), PEER.name)));
    const caller = new GrpcTransport({
      self: SELF,
      peers: [PEER],
      port,
      tls: loadTls(folder.member(SELF.name), SELF.name),
      onRefused: (line) => lines.push(line),
    });
    undo.push(() => void caller.close());
    const delivered: boolean[] = [];
    await caller.start({ ...QUIET, onSnapshotSent: (_to, isDelivered) => delivered.push(isDelivered) });
    await until(() => caller.isConnected(PEER.id));
    const asked = Promise.resolve(ask(caller));
    if (what.startsWith("a ") && what !== "a snapshot") await expect(asked).rejects.toThrow(/decoded$/);
    else await asked;
    await until(() => lines.length > 0);
    expect(lines).toEqual([
      expect.stringMatching(/^member 2: Cannot take an? .*: its bytes cannot be decoded$/),
    ]);
    expect(caller.counters.refused).toEqual({ ...zeroRefusals(), malformed: 1 });
    expect(delivered).toEqual(what === "a snapshot" ? [false] : []);
  });

  test.each(IMPOSTORS)("by a lifeline believes nobody who answers with %s, and tells it", async (...row) => {
    const [, tls, reason, why] = row;
    const port = await freePort();
    const seen = await impostor(port, tls());
    const lines: [RefusalReason, string][] = [];
    const up: number[] = [];
    const caller = new Lifelines({
      self: SELF,
      peers: [PEER],
      port,
      tls: loadTls(folder.member(SELF.name), SELF.name),
      founders: [SELF.id],
      onClosed: () => {},
      onUp: (node) => up.push(node),
      onRefused: (line, because) => lines.push([because, line]),
    });
    undo.push(() => caller.close());
    await caller.start();
    await until(() => lines.length > 0);
    expect(lines[0]?.[0]).toBe(reason);
    expect(lines[0]?.[1]).toMatch(/^refused a lifeline of fw2: /);
    expect(lines[0]?.[1]).toMatch(why);
    expect([up, seen]).toEqual([[], []]);
  });
});

describe("heartbeats", () => {
  const mac = (key: number) => () => new Uint8Array(32).fill(key);
  const datagram = (cluster: string, from: number, key: number, seq = 1): Uint8Array => {
    const writer = new EnvelopeWriter(clusterHash(cluster), mac(key));
    writer.begin(from, SELF.id, 0, 77, 0, seq);
    return writer.seal().slice();
  };

  test.each([
    ["clear text", new TextEncoder().encode("hello, I am fw2 ".repeat(8)), "foreign"],
    ["a cut datagram", datagram("edge", 2, 1).subarray(0, 20), "short"],
    ["another cluster", datagram("core", 2, 1), "foreign"],
    ["nobody who is a member", datagram("edge", 9, 1), "stranger"],
    ["somebody without the cluster's secret", datagram("edge", 2, 5), "forged"],
  ] as const)("of %s are refused, counted, and told with who sent them", (_who, bytes, reason) => {
    const heard: number[] = [];
    const heartbeats = new Heartbeats(
      {
        selfId: SELF.id,
        cluster: "edge",
        profile: PROFILES.lan,
        peers: [{ nodeId: PEER.id, role: "node", links: [0] }],
        mac: mac(1),
      },
      { nowMs: () => 0, random: () => 1 },
      { send: () => {}, event: () => {}, message: (from) => void heard.push(from) },
    );
    const lines: string[] = [];
    const { refused, refusedSender } = heartbeats;
    const teller = new RefusalLines(
      { heartbeats: () => ({ ...refused }), heartbeatSender: (why: EnvelopeRefusal) => refusedSender[why] },
      (line) => lines.push(line),
    );
    for (let i = 0; i < 3; i++) expect(heartbeats.receive(0, bytes, 0, senderAt("192.0.2.66"))).toBe(0);
    teller.tick();
    teller.tick();
    expect(refused[reason]).toBe(3);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^refused heartbeats of 192\.0\.2\.66: they are .*$/);
    expect(lines[0]).toContain(`(${reason})`);
    expect(heard).toEqual([]);
  });
});

test("redirected frames that are not believed are told with the peer whose address they came from, and why", () => {
  const reasons = { unsealed: 0, forged: 0, replayed: 0, unproven: 0 };
  const refused = { fw2: 0, fw3: 0 };
  const lines: string[] = [];
  const teller = new RefusalLines(
    {
      heartbeats: () => ({
        ...{ short: 0, foreign: 0, version: 0, stranger: 0 },
        ...{ forged: 0, replayed: 0, stale: 0, malformed: 0, distant: 0, crowded: 0 },
      }),
      heartbeatSender: () => 0,
      redirects: {
        byReason: () => ({ ...reasons }),
        byPeer: () => Object.entries(refused).map(([name, count]) => ({ name, refused: count })),
      },
    },
    (line) => lines.push(line),
  );
  teller.tick();
  reasons.unsealed = 7;
  refused.fw3 = 7;
  teller.tick();
  reasons.forged = 1;
  refused.fw2 = 1;
  teller.tick();
  teller.tick();
  expect(lines).toEqual([
    "refused redirected frames that came as fw3: they are in clear text, and dataplane.sealRedirects asks for sealed ones (unsealed)",
    "refused redirected frames that came as fw2: they are not sealed by this cluster's secret (forged)",
  ]);
});

test("nothing else listens: whoever opens a port is known, and stands in the table of docs/security.md", () => {
  const doors = ["src", "cluster"].flatMap((root) =>
    readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !file.startsWith("raft-ts"))
      .map((file) => join(root, file))
      .filter((file) =>
        /\b(createServer|createSecureServer|createSocket|bindAsync)\(/.test(readFileSync(file, "utf8")),
      ),
  );
  expect(doors.toSorted()).toEqual([
    "cluster/registration/registrar.ts",
    "cluster/transport/grpc-server.ts",
    "cluster/transport/lifeline.ts",
    "src/node/admin-server.ts",
    "src/node/http-server.ts",
    "src/node/witness-heartbeats.ts",
  ]);
});

test("the admin socket is a file that only its owner may open", async () => {
  const path = folder.file("admin.sock");
  const admin = new AdminServer(path, {} as never);
  await admin.start();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await admin.stop();
});

const QUIET = {
  onRaft: () => {},
  onStatus: () => {
    throw new Error("nobody is believed");
  },
  onSyncLink: () => {},
  onUnreachable: () => {},
  onSnapshotSent: () => {},
};

const SNAPSHOT: MsgSnap = {
  ...{ type: "MsgSnap", from: SELF.id, to: PEER.id, term: 1 },
  snapshot: {
    ...{ index: 1, term: 1, data: new Uint8Array(8) },
    confState: { voters: [1, 2], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  },
};

/** Resolves when the link that was answered is gone. */
function replicate(caller: GrpcTransport): Promise<void> {
  const link = caller.openSyncLink(PEER.id);
  return new Promise((resolve, reject) =>
    link.bind({
      onOpen: () => link.send({ type: "heartbeat", beat: 1, lastSequence: 0 }),
      onMessage: () => reject(new Error("it was taken for a message")),
      onWritable: () => {},
      onClose: () => resolve(),
    }),
  );
}

function pem(name: string, ca = "ca"): TlsOptions {
  const { cert, key } = folder.member(name, ca);
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

function expired(name: string): TlsOptions {
  const { cert, key } = folder.expired(name);
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

/** Answers at the peer's address, in clear text without `tls`; collects what it was told inside TLS. */
async function impostor(port: number, tls: TlsOptions | undefined): Promise<string[]> {
  const seen: string[] = [];
  const server: Server =
    tls === undefined
      ? createPlain((socket) => {
          socket.on("error", () => {});
          socket.write("HTTP/1.1 400 Bad Request\r\n\r\n");
        })
      : createServer({ ...tls, ALPNProtocols: ["h2"] }, (socket) => {
          socket.on("error", () => {});
          socket.on("data", (bytes) => seen.push(bytes.toString("hex")));
        });
  await new Promise<void>((resolve) => server.listen(port, PEER.address, resolve));
  undo.push(() => server.close());
  return seen;
}
