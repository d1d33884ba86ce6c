import { createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { poll } from "../../../../chaos/lab/wait.ts";
import { turn } from "../../../../chaos/traffic/pattern.ts";
import { STREAM_PORT } from "../../../../chaos/traffic/ports.ts";
import { Streams } from "../../../../chaos/traffic/streams.ts";

const HOST = "127.0.0.77";
let server: Server | undefined;
afterEach(() => {
  server?.close();
});

async function listen(serve: (socket: Socket) => void): Promise<void> {
  server = createServer(serve);
  await new Promise<void>((resolve) => server!.listen(STREAM_PORT, HOST, resolve));
}

/** Three streams to `serve`, run until `isOver`. */
async function streamsUntil(serve: (socket: Socket) => void, isOver: (streams: Streams) => boolean) {
  await listen(serve);
  let streams!: Streams;
  await new Promise<void>((resolve) => {
    streams = new Streams(HOST, ["127.0.0.1", "127.0.0.2", "127.0.0.3"], resolve);
  });
  await poll(() => isOver(streams), 20_000);
  streams.quiet();
  await poll(() => streams.isIdle(), 5_000);
  const report = streams.report();
  streams.close();
  return report;
}

test("streams that are answered rightly are not broken", async () => {
  let answered = 0;
  const report = await streamsUntil(
    (socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (bytes: Buffer) => {
        answered++;
        socket.write(turn(bytes));
      });
    },
    () => answered >= 6,
  );
  expect(report).toMatchObject({ wanted: 3, established: 3, broken: 0, reasons: {} });
  expect(report.exchanges).toBeGreaterThanOrEqual(6);
});

test("a reset stream is broken", async () => {
  const sockets: Socket[] = [];
  let hasReset = false;
  const report = await streamsUntil(
    (socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.on("data", () => {
        socket.resetAndDestroy();
        hasReset = true;
      });
    },
    (streams) => hasReset && streams.isIdle(),
  );
  expect(report.broken).toBeGreaterThan(0);
  expect(report.reasons["ECONNRESET"]).toBeGreaterThan(0);
});

test("one wrong byte breaks a stream", async () => {
  let answered = 0;
  const report = await streamsUntil(
    (socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (bytes: Buffer) => {
        const answer = turn(bytes);
        answer[17]! ^= 1;
        socket.write(answer);
        answered++;
      });
    },
    (streams) => answered >= 3 && streams.isIdle(),
  );
  expect(report).toMatchObject({ broken: 3, reasons: { "wrong byte": 3 } });
});

test("a stream that is never answered is broken, however short the drill was", async () => {
  let asked = 0;
  await listen((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => void asked++);
  });
  let streams!: Streams;
  await new Promise<void>((resolve) => {
    streams = new Streams(HOST, ["127.0.0.1"], resolve);
  });
  await poll(() => asked > 0, 5_000);
  streams.quiet();
  expect(streams.report()).toMatchObject({ established: 1, broken: 1, reasons: { silent: 1 } });
  streams.close();
});
