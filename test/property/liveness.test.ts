/**
 * What arrives on a wire may be anything: heartbeats never throw on it and never believe what was not authentic.
 */
import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { clusterHash, EnvelopeWriter, type Mac, ReplayWindow } from "../../cluster/liveness/envelope.ts";
import { PROFILES } from "../../cluster/liveness/model.ts";
import { Authority } from "../../cluster/takeover/authority.ts";
import { seededRandom } from "../../src/base/env.ts";

const mac: Mac = (bytes, from, to) => createHmac("sha256", `${from}-${to}`).update(bytes).digest();

function authority(): { it: Authority; count: () => number } {
  let heard = 0;
  const it = new Authority(
    {
      selfId: 1,
      role: "node",
      cluster: "edge",
      profile: PROFILES.lan,
      peers: [{ nodeId: 2, role: "node", links: [0, 1] }],
      voters: [1, 2],
      slots: 16,
      mac,
      lifelineReleases: true,
    },
    { nowMs: () => 0, random: seededRandom(1) },
    { send: () => {}, event: () => heard++, effect: () => heard++ },
  );
  return { it, count: () => heard };
}

const anyBytes = fc.uint8Array({ maxLength: 200, size: "max" });

test("random and mutated datagrams are refused without a throw", () => {
  const writer = new EnvelopeWriter(clusterHash("edge"), mac);
  fc.assert(
    fc.property(anyBytes, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(200), (noise, at, flip, cut) => {
      const { it, count } = authority();
      expect(it.receive(0, noise, 1)).toBe(0);
      // The peer has proven its life: its next datagram is believed unless it was touched.
      writer.begin(2, 1, 0, 5, it.heartbeats.nonce, 1);
      expect(it.receive(0, writer.seal(), 1)).toBe(2);
      writer.begin(2, 1, 0, 5, it.heartbeats.nonce, 2);
      writer.add(2, 24);
      const good = writer.seal().slice();
      expect(it.receive(0, good.subarray(0, cut % good.length), 1)).toBe(0);
      good[at % good.length] = (good[at % good.length] as number) ^ flip;
      expect(it.receive(0, good, 1)).toBe(0);
      expect(count()).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("authentic datagrams with any messages inside never throw", () => {
  const messages = fc.array(fc.tuple(fc.integer({ min: 0, max: 7 }), fc.uint8Array({ maxLength: 40 })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(messages, fc.boolean(), (list, isEchoed) => {
      const { it } = authority();
      const writer = new EnvelopeWriter(clusterHash("edge"), mac);
      for (let seq = 1; seq <= 3; seq++) {
        writer.begin(2, 1, 0, 5, isEchoed ? it.heartbeats.nonce : 0, seq);
        for (const [type, body] of list) writer.bytes.set(body, writer.add(type, body.length));
        expect(it.receive(0, writer.seal().slice(), seq)).toBe(isEchoed ? 2 : 0);
        it.tick(seq);
      }
    }),
    { numRuns: 300 },
  );
});

test("the replay window agrees with remembering everything", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { size: "max", maxLength: 300 }), (numbers) => {
      const w = new ReplayWindow();
      const seen = new Set<number>();
      let newest = 0;
      for (const n of numbers) {
        const isNew = !seen.has(n) && n > newest - 64;
        expect(w.accept(n)).toBe(isNew);
        if (isNew) seen.add(n);
        newest = Math.max(newest, n);
      }
    }),
    { numRuns: 300 },
  );
});
