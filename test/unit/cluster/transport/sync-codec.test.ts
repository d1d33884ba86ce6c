import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeFromReceiver,
  decodeFromSender,
  encodeFromReceiver,
  encodeFromSender,
} from "../../../../cluster/transport/sync-codec.ts";
import { ReplicateRequest, ReplicateResponse } from "../../../../proto/gen/synwall/v1/sync.ts";

/** Around every length that a varint can have. */
const whole = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc
    .integer({ min: 0, max: 52 })
    .chain((bits) => fc.integer({ min: -1, max: 1 }).map((by) => Math.max(0, 2 ** bits + by))),
);
const count = fc.integer({ min: 0, max: 100_000 });
const slab = fc.uint8Array({ maxLength: 700, size: "max" });

/** The same with a slab of the plain type, whatever buffer it is a view into. */
function plain(message: ReturnType<typeof decodeFromSender>): object {
  return message.type === "batch" ? { ...message, slab: Uint8Array.from(message.slab) } : message;
}

test("batches and acknowledgements are written byte for byte as the generated encoder writes them", () => {
  fc.assert(
    fc.property(whole, count, slab, whole, (firstSequence, records, bytes, beat) => {
      const batch = { type: "batch", firstSequence, count: records, slab: bytes } as const;
      const generated = ReplicateRequest.encode({ message: { $case: "batch", value: batch } }).finish();
      expect(Buffer.from(encodeFromSender(batch))).toEqual(Buffer.from(generated));
      expect(plain(decodeFromSender(encodeFromSender(batch)))).toEqual(batch);
      const ack = { type: "ack", appliedSequence: firstSequence, beat } as const;
      const answer = ReplicateResponse.encode({ message: { $case: "ack", value: ack } }).finish();
      expect(Buffer.from(encodeFromReceiver(ack))).toEqual(Buffer.from(answer));
      expect(decodeFromReceiver(encodeFromReceiver(ack))).toEqual(ack);
    }),
    { numRuns: 500 },
  );
});

test("the encoded batch does not change when the slab's memory is used again", () => {
  const bytes = new Uint8Array(160).fill(1);
  const encoded = encodeFromSender({ type: "batch", firstSequence: 1, count: 1, slab: bytes });
  bytes.fill(2);
  expect(plain(decodeFromSender(encoded))).toMatchObject({ slab: new Uint8Array(160).fill(1) });
});

/** What the generated decoder makes of it, in the form of the codec; undefined when it refuses or finds another kind. */
function generatedBatch(bytes: Uint8Array): object | undefined {
  try {
    const { message } = ReplicateRequest.decode(bytes);
    if (message?.$case !== "batch") return undefined;
    return { type: "batch", ...message.value, slab: Uint8Array.from(message.value.slab) };
  } catch {
    return undefined;
  }
}

function ownBatch(bytes: Uint8Array): object | undefined {
  try {
    const message = decodeFromSender(bytes);
    return message.type === "batch" ? plain(message) : undefined;
  } catch {
    return undefined;
  }
}

test("bytes that are no batch as this build writes it are read as the generated decoder reads them", () => {
  const small = fc.uint8Array({ maxLength: 6, size: "max" });
  const change = fc.record({ at: fc.nat(11), to: fc.constantFrom(0, 1, 8, 16, 18, 26, 127, 128, 255) });
  fc.assert(
    fc.property(
      whole,
      count,
      small,
      fc.array(change, { maxLength: 3, size: "max" }),
      (first, records, bytes, changes) => {
        const encoded = encodeFromSender({
          type: "batch",
          firstSequence: first,
          count: records,
          slab: bytes,
        });
        for (const { at, to } of changes) if (at < encoded.length) encoded[at] = to;
        expect(ownBatch(encoded)).toEqual(generatedBatch(encoded));
      },
    ),
    { numRuns: 5000 },
  );
});
