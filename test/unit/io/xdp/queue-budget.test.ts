import { describe, expect, test } from "vitest";
import { checkQueues, QUEUES_MAX, QUEUES_PER_PORT_MAX } from "../../../../src/io/xdp/queue-budget.ts";

function ports(...rxQueues: number[]): { name: string; rxQueues: number }[] {
  return rxQueues.map((queues, i) => ({ name: `eth${i + 1}`, rxQueues: queues }));
}

describe("checkQueues()", () => {
  test("takes as many as are served", () => {
    expect(() => checkQueues(ports(1, QUEUES_PER_PORT_MAX, 1))).not.toThrow();
    expect(() =>
      checkQueues(ports(...Array(QUEUES_MAX / QUEUES_PER_PORT_MAX).fill(QUEUES_PER_PORT_MAX))),
    ).not.toThrow();
  });

  test("names the interface that has too many, and the command that mends it", () => {
    const attempt = (): void => checkQueues(ports(1, 64, 64));
    expect(attempt).toThrow(
      "Cannot open eth2 with xdp: it has 64 receive queues, at most 8 are served: ethtool -L eth2 combined 8 (rx 8 where combined is n/a)",
    );
    expect(attempt).toThrow(expect.objectContaining({ code: "SW_IO_INTERFACE" }));
  });

  test("names the widest when all together are too many, with a share that fits", () => {
    const widths = [...Array<number>(15).fill(4), 6];
    expect(() => checkQueues(ports(...widths))).toThrow(
      "Cannot open eth16 with xdp: all interfaces together have 66 receive queues, at most 64 are served: ethtool -L eth16 combined 4 (rx 4 where combined is n/a)",
    );
    expect(() => checkQueues(ports(...Array<number>(16).fill(4)))).not.toThrow();
  });
});
