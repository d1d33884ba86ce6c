/**
 * What the ends of a TCP connection know better than the middle: connections that begin anew, selective acknowledgements,
 * keep-alives.
 */
import { describe, expect, test } from "vitest";
import { data, Tracked } from "./tracked.ts";

describe("opening anew (RFC 9293 section 3.5.1, RFC 5961 section 4)", () => {
  test("a client that lost its connection opens another one, and the server that lost it too agrees", () => {
    const flow = new Tracked({ flags: "S", seq: 1000, scale: 2 }).establish(4);
    flow.send("c", { flags: "A", seq: 1001, ack: 5001, payload: data(500) });
    expect(flow.send("c", { flags: "S", seq: 700_000_000, scale: 7 })).toBe("ignored");
    expect(flow.state).toBe("established");
    expect(flow.send("s", { flags: "SA", seq: 99, ack: 700_000_001, scale: 7 })).toBe("changed");
    expect(flow.state).toBe("syn_received");
    expect(flow.send("c", { flags: "A", seq: 700_000_001, ack: 100, window: 500 })).toBe("changed");
    expect(flow.state).toBe("established");
    expect(flow.send("s", { flags: "A", seq: 100, ack: 700_000_001, payload: data(60_000) })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1501, ack: 5001 })).toBe("window");
  });

  test("the server that still knows the old one challenges, and the client's reset ends it", () => {
    const flow = new Tracked().establish();
    expect(flow.send("c", { flags: "S", seq: 700_000_000 })).toBe("ignored");
    expect(flow.send("s", { flags: "A", seq: 5001, ack: 1001 })).toBe("same");
    expect(flow.send("c", { flags: "R", seq: 1001 })).toBe("changed");
    expect(flow.state).toBe("closed");
    expect(flow.send("c", { flags: "S", seq: 700_000_000 })).toBe("new");
  });

  test("the server that has nothing refuses, and its word is believed", () => {
    const flow = new Tracked().establish();
    flow.send("c", { flags: "S", seq: 700_000_000 });
    expect(flow.send("s", { flags: "RA", seq: 0, ack: 4_000_000 })).toBe("window");
    expect(flow.send("s", { flags: "RA", seq: 0, ack: 700_000_001 })).toBe("changed");
    expect(flow.state).toBe("closed");
  });

  test("a forged SYN changes nothing: the connection goes on, and its next segment forgets it", () => {
    const flow = new Tracked().establish();
    expect(flow.send("c", { flags: "S", seq: 700_000_000 })).toBe("ignored");
    expect(flow.send("s", { flags: "A", seq: 5001, ack: 1001, payload: data(100) })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5101 })).toBe("same");
    expect(flow.send("s", { flags: "SA", seq: 99, ack: 700_000_001 })).toBe("window");
    expect(flow.send("s", { flags: "R", seq: 5100 })).toBe("window");
    expect(flow.send("s", { flags: "R", seq: 5101 })).toBe("changed");
  });

  test("late duplicates of the handshake do not begin the connection again", () => {
    const flow = new Tracked().establish();
    flow.send("s", { flags: "A", seq: 5001, ack: 1001, payload: data(10) });
    expect(flow.send("c", { flags: "S", seq: 1000 })).toBe("ignored");
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1001 })).toBe("ignored");
    expect(flow.state).toBe("established");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5011 })).toBe("same");
  });

  test("only who opened it may: a SYN of the other end, and an answer of the client's, are nobody's", () => {
    const flow = new Tracked().establish();
    expect(flow.send("s", { flags: "S", seq: 99 })).toBe("invalid");
    expect(flow.send("c", { flags: "SA", seq: 1000, ack: 5001 })).toBe("invalid");
  });

  test("an old connection that only the server has is reset by the number that it names", () => {
    const flow = new Tracked();
    expect(flow.send("s", { flags: "A", seq: 777, ack: 333_333 })).toBe("ignored");
    expect(flow.send("c", { flags: "R", seq: 222_222 })).toBe("window");
    expect(flow.send("c", { flags: "R", seq: 333_333 })).toBe("ignored");
    expect(flow.state).toBe("syn_sent");
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1001 })).toBe("changed");
  });

  test("a server without state may answer the same SYN with another number (RFC 4987 section 3.6)", () => {
    const flow = new Tracked();
    flow.send("s", { flags: "SA", seq: 5000, ack: 1001 });
    expect(flow.send("s", { flags: "SA", seq: 800_000, ack: 1001 })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 800_001 })).toBe("changed");
  });

  test("an answer that comes again keeps the data behind it", () => {
    const flow = new Tracked();
    flow.send("s", { flags: "SA", seq: 5000, ack: 1001 });
    flow.send("s", { flags: "A", seq: 5001, ack: 1001, payload: data(100) });
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1001 })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5101 })).toBe("changed");
  });

  test("a SYN that comes again without its data keeps it (RFC 7413 section 4.2.1)", () => {
    const flow = new Tracked({ flags: "S", seq: 1000, payload: data(100) });
    expect(flow.send("c", { flags: "S", seq: 1000 })).toBe("same");
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1101 })).toBe("changed");
  });
});

describe("selective acknowledgements (RFC 2018)", () => {
  const sacked = (): Tracked => {
    const flow = new Tracked({ flags: "S", seq: 1000, sackOk: true }).establish(undefined, { sackOk: true });
    flow.send("s", { flags: "A", seq: 5001, ack: 1001, payload: data(3000) });
    return flow;
  };

  test("blocks of what was sent pass, also duplicates below (RFC 2883)", () => {
    expect(sacked().send("c", { flags: "A", seq: 1001, ack: 5001, sack: [[6001, 8001]] })).toBe("same");
    const twice = { flags: "A", seq: 1001, ack: 8001, sack: [[5001, 6001]] } as const;
    expect(sacked().send("c", twice)).toBe("same");
  });

  test("a block of what was never sent is out of window, in any place of the list", () => {
    for (const sack of [
      [[6001, 8002]],
      [
        [6001, 7001],
        [8000, 9000],
      ],
    ] as const) {
      expect(sacked().send("c", { flags: "A", seq: 1001, ack: 5001, sack })).toBe("window");
    }
  });

  test("unless both offered them, blocks mean nothing", () => {
    const flow = new Tracked({ flags: "S", seq: 1000, sackOk: true }).establish();
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001, sack: [[9000, 9001]] })).toBe("same");
  });
});

describe("keep-alives (RFC 9293 section 3.8.4)", () => {
  test.each([0, 1])(
    "a probe of %i bytes one before the next number, and its answer, pass and keep the flow",
    (bytes) => {
      const flow = new Tracked().establish();
      flow.send("c", { flags: "A", seq: 1001, ack: 5001, payload: data(10) });
      flow.send("s", { flags: "A", seq: 5001, ack: 1011 });
      expect(flow.send("c", { flags: "A", seq: 1010, ack: 5001, payload: data(bytes) })).toBe("same");
      expect(flow.send("s", { flags: "A", seq: 5001, ack: 1011 })).toBe("same");
    },
  );

  test("also where the windows are as small as they can be", () => {
    const flow = new Tracked({ flags: "S", seq: 1000, window: 0 }).establish(undefined, { window: 0 });
    expect(flow.send("c", { flags: "A", seq: 1000, ack: 5001, window: 0 })).toBe("same");
  });
});
