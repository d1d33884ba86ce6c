import { expect, test } from "vitest";
import { SimClock } from "../../../../chaos/sim/cluster/clock.ts";
import type { Segment } from "../../../../chaos/sim/cluster/packets.ts";
import { TcpSocket } from "../../../../chaos/sim/cluster/tcp.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { RST } from "../../../../src/packet/tcp.ts";

const DELAY_MS = 0.5;

/** Two ends of one connection; `fate` says how often each segment arrives, and how much later than others. */
function connected(fate: (segment: Segment) => readonly number[]) {
  const clock = new SimClock();
  const random = seededRandom(1);
  const host = {
    nowMs: () => clock.nowMs(),
    after: (ms: number, work: () => void) => clock.wire(ms, work),
    random,
  };
  const heard = { client: "", server: "" };
  const events: string[] = [];
  const carry =
    (to: () => TcpSocket) =>
    (segment: Segment): void => {
      for (const laterMs of fate(segment)) clock.wire(DELAY_MS + laterMs, () => deliver(to(), segment));
    };
  const client: TcpSocket = new TcpSocket({
    host,
    localPort: 1000,
    remotePort: 80,
    send: carry(() => server),
    onGone: () => events.push("client gone"),
  });
  const server: TcpSocket = new TcpSocket({
    host,
    localPort: 80,
    remotePort: 1000,
    send: carry(() => client),
    onGone: () => events.push("server gone"),
  });
  let isAccepted = false;
  function deliver(to: TcpSocket, segment: Segment): void {
    if (to === server && !isAccepted) {
      isAccepted = true;
      server.accept(segment);
    } else to.receive(segment);
  }
  for (const [name, socket] of [["client", client] as const, ["server", server] as const]) {
    socket.on("connect", () => events.push(`${name} connect`));
    socket.on("close", () => events.push(`${name} close`));
    socket.on("error", ({ code }) => events.push(`${name} ${code}`));
    socket.on("data", (bytes) => {
      heard[name] += bytes.toString("latin1");
    });
  }
  client.open();
  return { clock, client, server, heard, events };
}

const text = (bytes: number): string => Array.from({ length: bytes }, (_, i) => String(i % 10)).join("");

test("bytes arrive once and in order, and both ends close", async () => {
  const { clock, client, server, heard, events } = connected(() => [0]);
  client.write(Buffer.from(text(100_000)));
  server.on("data", (bytes) => server.write(bytes));
  await clock.drive(clock.pause(100));
  client.end();
  await clock.drive(clock.pause(100));
  expect([heard.client === text(100_000), heard.server === text(100_000)]).toEqual([true, true]);
  expect(events.toSorted()).toEqual(["client close", "client connect", "server close", "server connect"]);
});

test("what the network loses, doubles and swaps arrives all the same", async () => {
  const random = seededRandom(7);
  const { clock, client, heard } = connected(() => {
    const draw = random(20);
    if (draw === 0) return [];
    return draw === 1 ? [0, 3] : [draw === 2 ? 5 : 0];
  });
  client.write(Buffer.from(text(60_000)));
  await clock.drive(clock.pause(60_000));
  expect(heard.server === text(60_000)).toBe(true);
});

test("a lost answer to the handshake is asked for again after a second", async () => {
  let lost = 0;
  const { clock, events } = connected(() => (lost++ === 1 ? [] : [0]));
  await clock.drive(clock.pause(900));
  expect(events).toEqual([]);
  await clock.drive(clock.pause(200));
  expect(events).toContain("client connect");
});

test("a reset in the window breaks the connection, another does not", async () => {
  const { clock, client, server, events } = connected(() => [0]);
  await clock.drive(clock.pause(10));
  const forged = {
    sourcePort: 80,
    destinationPort: 1000,
    seq: 1,
    ack: 0,
    flags: RST,
    payload: Buffer.alloc(0),
  };
  client.receive(forged);
  expect(events).not.toContain("client ECONNRESET");
  server.destroy();
  await clock.drive(clock.pause(10));
  expect(events).toContain("client ECONNRESET");
});

test("data without an answer for five seconds breaks the connection", async () => {
  let isCut = false;
  const { clock, client, events } = connected(() => (isCut ? [] : [0]));
  await clock.drive(clock.pause(10));
  isCut = true;
  client.write(Buffer.from("hello"));
  await clock.drive(clock.pause(4_900));
  expect(events).not.toContain("client ETIMEDOUT");
  await clock.drive(clock.pause(5_000));
  expect(events).toContain("client ETIMEDOUT");
});
