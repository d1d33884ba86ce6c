import { expect, test } from "vitest";
import {
  clusterHash,
  ENVELOPE_HEADER_BYTES,
  EnvelopeWriter,
  emptyEnvelopeHeader,
  MAC_BYTES,
  openEnvelope,
} from "../../../cluster/liveness/envelope.ts";
import { deriveKeys, heartbeatMac } from "../../../src/node/keys.ts";

const SECRET = new Uint8Array(32).fill(7);
const CLUSTER = clusterHash("edge");
const mac = heartbeatMac(deriveKeys(SECRET, "edge").heartbeatKey);

/** A datagram of member 1 to member 2 with a body of 24 bytes, as a lease request has. */
function sealed(): Uint8Array {
  const writer = new EnvelopeWriter(CLUSTER, mac);
  writer.begin(1, 2, 0, 11, 22, 1);
  const at = writer.add(2, 24);
  for (let i = 0; i < 24; i++) writer.bytes[at + i] = i;
  return writer.seal().slice();
}

function open(bytes: Uint8Array, key = mac) {
  return openEnvelope(bytes, 2, CLUSTER, () => true, key, emptyEnvelopeHeader());
}

test("a heartbeat is believed whole, and no bit of it can be changed", () => {
  const datagram = sealed();
  expect(open(datagram)).toBeUndefined();
  for (let bit = 0; bit < datagram.length * 8; bit++) {
    const changed = datagram.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect(open(changed), `bit ${bit}`).toBeDefined();
  }
});

test("the HMAC of one datagram fits no other", () => {
  const one = sealed();
  const other = sealed();
  other[ENVELOPE_HEADER_BYTES + 10]! ^= 0xff;
  other.set(one.subarray(-MAC_BYTES), other.length - MAC_BYTES);
  expect(open(other)).toBe("forged");
});

test("another secret or another cluster's name makes another key", () => {
  const datagram = sealed();
  const stranger = heartbeatMac(deriveKeys(new Uint8Array(32).fill(8), "edge").heartbeatKey);
  const namesake = heartbeatMac(deriveKeys(SECRET, "core").heartbeatKey);
  expect(open(datagram, stranger)).toBe("forged");
  expect(open(datagram, namesake)).toBe("forged");
});

test("each use has a key of its own, of 32 bytes", () => {
  const { flowKey, heartbeatKey, cookieKey, redirectKey } = deriveKeys(SECRET, "edge");
  expect([flowKey.length, heartbeatKey.length]).toEqual([32, 32]);
  expect(new Set([flowKey, heartbeatKey, cookieKey, redirectKey].map((key) => key.join()))).toHaveProperty(
    "size",
    4,
  );
});
