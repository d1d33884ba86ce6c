import { EventEmitter } from "node:events";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { z } from "zod";
import { LineReader } from "../../../../cluster/registration/messages.ts";

const schema = z.object({ n: z.number() });

class FakeSocket extends EventEmitter {
  isDestroyed = false;

  setEncoding(): void {}

  destroy(): void {
    this.isDestroyed = true;
    this.emit("close");
  }
}

function reader(): { socket: FakeSocket; lines: LineReader } {
  const socket = new FakeSocket();
  return { socket, lines: new LineReader(socket as unknown as TLSSocket) };
}

test("lines are read one after the other, however they were cut, also after the end", async () => {
  const { socket, lines } = reader();
  const first = lines.next(schema);
  for (const text of ['{"n"', ":1}\n", '{"n":2}\n{"n":3}\n{"n":4']) socket.emit("data", text);
  expect(await first).toEqual({ n: 1 });
  expect(await lines.next(schema)).toEqual({ n: 2 });
  socket.emit("end");
  expect(await lines.next(schema)).toEqual({ n: 3 });
  expect(await lines.next(schema)).toBeUndefined();
});

test("what is none is read as none", async () => {
  const { socket, lines } = reader();
  socket.emit("data", '{"n":"1"}\nhello\n');
  expect(await lines.next(schema)).toBeUndefined();
  expect(await lines.next(schema)).toBeUndefined();
});

test.each([
  ["empty lines", "\n"],
  ["one line without an end", "x"],
])("whoever sends %s without being asked is cut off at 64 KiB", async (_what, letter) => {
  const { socket, lines } = reader();
  const chunk = letter.repeat(16_384);
  for (let i = 0; i < 4; i++) socket.emit("data", chunk);
  expect(socket.isDestroyed).toBe(false);
  socket.emit("data", letter);
  expect(socket.isDestroyed).toBe(true);
  expect(await lines.next(schema)).toBeUndefined();
});
