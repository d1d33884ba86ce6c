import { fork } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterAll, afterEach, expect, test } from "vitest";
import { Lifelines } from "../../../../cluster/transport/lifeline.ts";
import type { RefusalReason } from "../../../../cluster/transport/refusals.ts";
import { loadTls, type TlsFiles } from "../../../../cluster/transport/tls.ts";
import { CertificateFolder } from "./certificates.ts";
import { freePort } from "./free-port.ts";
import { until } from "./until.ts";

const folder = new CertificateFolder();
const running: Lifelines[] = [];
afterEach(() => {
  for (const lifelines of running.splice(0)) lifelines.close();
});
afterAll(() => folder.remove());

const MEMBERS = [1, 2, 3].map((id) => ({ id, name: `fw${id}`, address: `127.0.0.${id}` }));

interface Watched {
  readonly lifelines: Lifelines;
  readonly closed: number[];
  readonly up: number[];
  readonly refused: string[];
  readonly reasons: RefusalReason[];
}

async function start(
  id: number,
  port: number,
  files: TlsFiles = folder.member(`fw${id}`),
  handshakeMsMax?: number,
): Promise<Watched> {
  const self = MEMBERS[id - 1]!;
  const closed: number[] = [];
  const up: number[] = [];
  const refused: string[] = [];
  const reasons: RefusalReason[] = [];
  const lifelines = new Lifelines({
    self,
    peers: MEMBERS.filter((member) => member !== self),
    port,
    tls: loadTls(files, self.name),
    ...(handshakeMsMax === undefined ? {} : { handshakeMsMax }),
    onClosed: (peer) => closed.push(peer),
    onUp: (peer) => up.push(peer),
    onRefused: (why, reason) => {
      refused.push(why);
      reasons.push(reason);
    },
  });
  running.push(lifelines);
  await lifelines.start();
  return { lifelines, closed, up, refused, reasons };
}

test("every pair has one lifeline, up on both sides", async () => {
  const port = await freePort();
  const all = [await start(1, port), await start(2, port), await start(3, port)];
  await until(() => all.every(({ up }) => up.length === 2));
  expect(all.map(({ up }) => [...up].sort())).toEqual([
    [2, 3],
    [1, 3],
    [1, 2],
  ]);
  expect(all.every(({ closed }) => closed.length === 0)).toBe(true);
});

test("a process that ends is told to both sides once, and comes back", async () => {
  const port = await freePort();
  const first = await start(1, port);
  const second = await start(2, port);
  const third = await start(3, port);
  await until(() => [first, second, third].every(({ up }) => up.length === 2));
  second.lifelines.close();
  await until(() => first.closed.length > 0 && third.closed.length > 0);
  expect([first.closed, third.closed, second.closed]).toEqual([[2], [2], []]);
  expect(first.lifelines.isUp(2)).toBe(false);
  const again = await start(2, port);
  await until(() => first.lifelines.isUp(2) && third.lifelines.isUp(2) && again.up.length === 2);
  expect([first.closed, third.closed]).toEqual([[2], [2]]);
});

test("kill -9 of a process closes its lifeline", async () => {
  const port = await freePort();
  // Another process of the same name: all it does is to hold its end.
  const child = fork(new URL("./lifeline-child.ts", import.meta.url), {
    execArgv: ["--import", "tsx"],
    env: {
      ...process.env,
      LIFELINE: JSON.stringify({ port, files: folder.member("fw2"), self: MEMBERS[1], peers: [MEMBERS[0]] }),
    },
  });
  try {
    await once(child, "message");
    const survivor = await start(1, port);
    await until(() => survivor.up.includes(2));
    child.kill("SIGKILL");
    await until(() => survivor.closed.length > 0);
    expect(survivor.closed).toEqual([2]);
  } finally {
    child.kill("SIGKILL");
  }
});

test("members of two CAs hold lifelines while both CAs are in their CA files", async () => {
  const port = await freePort();
  const old = folder.member("fw1");
  const renewed = folder.member("fw2", "new-ca");
  const ca = folder.bundle("ca", "new-ca");
  const first = await start(1, port, { ...old, ca });
  const second = await start(2, port, { ...renewed, ca });
  await until(() => first.up.length === 1 && second.up.length === 1);
  expect([first.refused, second.refused]).toEqual([[], []]);
});

test("a stranger's certificate is refused and closes nothing", async () => {
  const port = await freePort();
  const first = await start(3, port);
  const stranger = new Lifelines({
    self: { id: 1, name: "fw9", address: "127.0.0.9" },
    peers: [MEMBERS[2]!],
    port,
    tls: loadTls(folder.member("fw9"), "fw9"),
    onClosed: () => {},
  });
  running.push(stranger);
  await stranger.start();
  await until(() => first.refused.length > 0);
  expect(first.refused[0]).toMatch(/"fw9" is no other node/);
  expect(first.reasons[0]).toBe("stranger");
  expect([first.up, first.closed]).toEqual([[], []]);
});

test("a certificate of another CA is refused on either end of a lifeline", async () => {
  const port = await freePort();
  const honest = await start(2, port);
  const above = await start(3, port, folder.member("fw3", "rogue"));
  const below = await start(1, port, folder.member("fw1", "rogue"));
  // fw2 dials fw3, and is dialled by fw1, which does not believe it either.
  await until(() => honest.reasons.length > 0 && below.reasons.length > 0);
  expect(new Set([...honest.reasons, ...below.reasons])).toEqual(new Set(["certificate"]));
  expect([honest.up, above.up, below.up.includes(2)]).toEqual([[], [], false]);
});

test("connections beyond the limit are dropped and counted, and lifelines stand", async () => {
  const port = await freePort();
  const first = await start(1, port);
  const second = await start(2, port);
  await until(() => first.up.length === 1 && second.up.length === 1);
  const crowd = Array.from({ length: 60 }, () => connect(port, MEMBERS[1]!.address));
  for (const socket of crowd) socket.on("error", () => {});
  await until(() => second.reasons.includes("limit"));
  for (const socket of crowd) socket.destroy();
  expect(second.lifelines.isUp(1)).toBe(true);
  expect(second.closed).toEqual([]);
});

/** Connections that say nothing. */
function silence(port: number, address: string, count: number): { readonly closed: Promise<unknown> } {
  const silent = Array.from({ length: count }, () => connect(port, address).resume());
  for (const socket of silent) socket.on("error", () => {});
  return { closed: Promise.all(silent.map((socket) => new Promise((done) => socket.once("close", done)))) };
}

test("connections that say nothing lose their places, and a node gets in afterwards", async () => {
  const port = await freePort();
  const second = await start(2, port, folder.member("fw2"), 500);
  await silence(port, MEMBERS[1]!.address, 40).closed;
  expect(new Set(second.reasons)).toEqual(new Set(["tls", "limit"]));
  const first = await start(1, port);
  await until(() => first.up.includes(2) && second.up.includes(1));
});

test("close() ends a connection that has said nothing yet", async () => {
  const port = await freePort();
  const second = await start(2, port, folder.member("fw2"), 600_000);
  const { closed } = silence(port, MEMBERS[1]!.address, 1);
  // It is accepted before whoever comes after it.
  await start(1, port);
  await until(() => second.up.includes(1));
  second.lifelines.close();
  await closed;
});

test("who speaks no TLS is refused and disturbs nobody", async () => {
  const port = await freePort();
  const first = await start(1, port);
  const socket = connect(port, "127.0.0.1", () => socket.end("GET / HTTP/1.1\r\n\r\n"));
  socket.on("error", () => {});
  await until(() => first.refused.length > 0);
  expect(first.closed).toEqual([]);
});

test("a taken port fails with SW_PORT_TAKEN in one line", async () => {
  const port = await freePort();
  const other = createServer().listen(port, "127.0.0.1");
  await once(other, "listening");
  try {
    await expect(start(1, port)).rejects.toMatchObject({
      code: "SW_PORT_TAKEN",
      message: `cluster.ports.lifeline: cannot listen on 127.0.0.1:${port}: another process listens there`,
    });
  } finally {
    other.close();
  }
});
