import { expect, test } from "vitest";
import { ProbeEnd } from "../../../../chaos/traffic/probe-end.ts";
import { encodeProbe, TO_SERVER } from "../../../../chaos/traffic/probe-packet.ts";

const CLIENT = { address: "10.10.0.2", port: 1024 };

test("an end has read all there was only when its sockets gave less than they give at a time", () => {
  let nowMs = 0;
  const end = new ProbeEnd("server", () => nowMs);
  const hear = (count: number): void => {
    for (let sequence = 0; sequence < count; sequence++) {
      end.hear(encodeProbe({ flow: 0, direction: TO_SERVER, sequence }), CLIENT, () => {});
    }
  };
  nowMs = 1;
  hear(31);
  end.readAll();
  nowMs = 2;
  hear(32);
  end.readAll();
  nowMs = 3;
  end.readAll();
  expect(end.report().readMs).toEqual([1, 3]);
});

test("what a probe's send took stands in the log: it left in between", () => {
  let nowMs = 10;
  const end = new ProbeEnd("client", () => nowMs);
  end.add(0, CLIENT, () => (nowMs += 40));
  end.sendAll();
  const [flow] = end.report().flows;
  expect([flow?.sentAtMs, flow?.sentByMs]).toEqual([[10], [50]]);
});
