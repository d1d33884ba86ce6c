import { describe, expect, test } from "vitest";
import { data, Tracked } from "./tracked.ts";

describe("opening (RFC 9293 section 3.5)", () => {
  test("three-way handshake", () => {
    const flow = new Tracked();
    expect(flow.state).toBe("syn_sent");
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1001 })).toBe("changed");
    expect(flow.state).toBe("syn_received");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 })).toBe("changed");
    expect(flow.state).toBe("established");
  });

  test("retransmitted SYN and SYN-ACK change nothing", () => {
    const flow = new Tracked();
    expect(flow.send("c", { flags: "S", seq: 1000 })).toBe("same");
    flow.send("s", { flags: "SA", seq: 5000, ack: 1001 });
    expect(flow.send("c", { flags: "S", seq: 1000 })).toBe("same");
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1001 })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 })).toBe("changed");
  });

  test("simultaneous open (figure 7)", () => {
    const flow = new Tracked();
    expect(flow.send("s", { flags: "S", seq: 5000 })).toBe("changed");
    expect(flow.state).toBe("syn_received");
    flow.send("c", { flags: "SA", seq: 1000, ack: 5001 });
    flow.send("s", { flags: "SA", seq: 5000, ack: 1001 });
    expect(flow.state).toBe("established");
  });

  test("a SYN-ACK for another SYN is invalid", () => {
    expect(new Tracked().send("s", { flags: "SA", seq: 5000, ack: 999 })).toBe("invalid");
  });

  test("data in the SYN may be acknowledged or not (RFC 7413 section 4.2)", () => {
    for (const ack of [1001, 1101]) {
      const flow = new Tracked({ flags: "S", seq: 1000, payload: data(100) });
      expect(flow.send("s", { flags: "SA", seq: 5000, ack })).toBe("changed");
      expect(flow.send("c", { flags: "A", seq: ack, ack: 5001 })).toBe("changed");
    }
  });

  test("a refusal resets at once, a forged one does not (RFC 9293 section 3.10.7.3)", () => {
    const flow = new Tracked();
    expect(flow.send("s", { flags: "RA", seq: 0, ack: 4711 })).toBe("window");
    expect(flow.state).toBe("syn_sent");
    expect(flow.send("s", { flags: "RA", seq: 0, ack: 1001 })).toBe("changed");
    expect(flow.state).toBe("closed");
  });

  test("flags that mean nothing are invalid", () => {
    const flow = new Tracked().establish();
    for (const flags of ["", "SF", "SR", "F", "FRA", "P", "U"]) {
      expect(flow.send("c", { flags, seq: 1001, ack: 5001 })).toBe("invalid");
    }
  });
});

describe("closing (RFC 9293 section 3.6)", () => {
  test("normal close", () => {
    const flow = new Tracked().establish();
    flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    expect(flow.state).toBe("fin_wait");
    flow.send("s", { flags: "A", seq: 5001, ack: 1002 });
    expect(flow.state).toBe("close_wait");
    expect(flow.send("s", { flags: "A", seq: 5001, ack: 1002, payload: data(500) })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1002, ack: 5501 })).toBe("same");
    flow.send("s", { flags: "FA", seq: 5501, ack: 1002 });
    expect(flow.state).toBe("last_ack");
    flow.send("c", { flags: "A", seq: 1002, ack: 5502 });
    expect(flow.state).toBe("time_wait");
  });

  test("simultaneous close (figure 13)", () => {
    const flow = new Tracked().establish();
    flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    flow.send("s", { flags: "FA", seq: 5001, ack: 1001 });
    expect(flow.state).toBe("last_ack");
    flow.send("c", { flags: "A", seq: 1002, ack: 5002 });
    flow.send("s", { flags: "A", seq: 5002, ack: 1002 });
    expect(flow.state).toBe("time_wait");
  });

  test("half-close: the other side goes on sending (section 3.6, case 2)", () => {
    const flow = new Tracked().establish();
    flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    flow.send("s", { flags: "A", seq: 5001, ack: 1002 });
    for (let sent = 0; sent < 200_000; sent += 1000) {
      expect(flow.send("s", { flags: "A", seq: 5001 + sent, ack: 1002, payload: data(1000) })).toBe("same");
      expect(flow.send("c", { flags: "A", seq: 1002, ack: 6001 + sent })).toBe("same");
    }
    expect(flow.state).toBe("close_wait");
  });

  test("a retransmitted FIN is no second one: the other side's is still to come", () => {
    const flow = new Tracked().establish();
    for (let i = 0; i < 3; i++) flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    expect(flow.state).toBe("fin_wait");
    flow.send("s", { flags: "A", seq: 5001, ack: 1002 });
    flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    expect(flow.state).toBe("close_wait");
  });

  test("an acknowledgement of less than the last FIN leaves LAST-ACK as it is", () => {
    const flow = new Tracked().establish();
    flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    flow.send("s", { flags: "FA", seq: 5001, ack: 1002, payload: data(100) });
    flow.send("c", { flags: "A", seq: 1002, ack: 5101 });
    expect(flow.state).toBe("last_ack");
    flow.send("c", { flags: "A", seq: 1002, ack: 5102 });
    expect(flow.state).toBe("time_wait");
  });

  test("TIME-WAIT is left by a SYN above the old numbers, and by no old duplicate (section 3.6.1)", () => {
    const closed = (): Tracked => {
      const flow = new Tracked().establish();
      flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
      flow.send("s", { flags: "FA", seq: 5001, ack: 1002 });
      flow.send("c", { flags: "A", seq: 1002, ack: 5002 });
      expect(flow.state).toBe("time_wait");
      return flow;
    };
    expect(closed().send("c", { flags: "S", seq: 1002 })).toBe("new");
    expect(closed().send("c", { flags: "S", seq: 900_000 })).toBe("new");
    expect(closed().send("s", { flags: "S", seq: 5002 })).toBe("new");
    const flow = closed();
    expect(flow.send("c", { flags: "S", seq: 1000 })).toBe("ignored");
    expect(flow.send("s", { flags: "S", seq: 4000 })).toBe("invalid");
    expect(flow.send("s", { flags: "SA", seq: 5000, ack: 1001 })).toBe("invalid");
    expect(flow.state).toBe("time_wait");
    expect(flow.send("c", { flags: "A", seq: 1002, ack: 5002 })).toBe("same");
  });

  test("a SYN on a tuple that was reset is a new connection, on a living one it is the end's to answer", () => {
    const flow = new Tracked().establish();
    expect(flow.send("c", { flags: "S", seq: 77 })).toBe("ignored");
    expect(flow.state).toBe("established");
    flow.send("c", { flags: "RA", seq: 1001, ack: 5001 });
    expect(flow.state).toBe("closed");
    expect(flow.send("c", { flags: "S", seq: 900_000 })).toBe("new");
  });
});

describe("windows (van Rooij)", () => {
  test("data beyond what the receiver announced is out of window", () => {
    const flow = new Tracked().establish();
    expect(flow.send("c", { flags: "A", seq: 1001 + 65535, ack: 5001, payload: data(1) })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1001 + 65536 + 2, ack: 5001, payload: data(1) })).toBe("window");
  });

  test("data further back than the receiver's window is out of window", () => {
    const flow = new Tracked().establish();
    expect(flow.send("c", { flags: "A", seq: 1001 - 65536, ack: 5001 })).toBe("window");
    expect(flow.send("c", { flags: "A", seq: 1001 - 65535, ack: 5001 })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 1000, ack: 5001 })).toBe("same");
  });

  test("acknowledging what was never sent is out of window", () => {
    const flow = new Tracked().establish();
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5002 })).toBe("window");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 - 66_001 })).toBe("window");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 - 66_000 })).toBe("same");
  });

  test("windows are scaled when both sides offered it, and never in a SYN (RFC 7323 section 2)", () => {
    const far = 1001 + 60_000 * 16;
    const scaled = new Tracked({ flags: "S", seq: 1000, scale: 2 }).establish(4);
    scaled.send("s", { flags: "A", seq: 5001, ack: 1001, window: 60_000 });
    expect(scaled.send("c", { flags: "A", seq: far, ack: 5001 })).toBe("same");
    const alone = new Tracked({ flags: "S", seq: 1000, scale: 2 }).establish();
    alone.send("s", { flags: "A", seq: 5001, ack: 1001, window: 60_000 });
    expect(alone.send("c", { flags: "A", seq: far, ack: 5001 })).toBe("window");
  });

  test("sequence numbers wrap", () => {
    const flow = new Tracked({ flags: "S", seq: 0xfffffff0 });
    flow.send("s", { flags: "SA", seq: 0xffffff00, ack: 0xfffffff1 });
    flow.send("c", { flags: "A", seq: 0xfffffff1, ack: 0xffffff01 });
    expect(flow.send("c", { flags: "A", seq: 0xfffffff1, ack: 0xffffff01, payload: data(100) })).toBe("same");
    expect(flow.send("s", { flags: "A", seq: 0xffffff01, ack: 0x55, payload: data(400) })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 0x55, ack: 0x91 })).toBe("same");
  });

  test("a retransmission does not pull a window back", () => {
    const flow = new Tracked().establish();
    flow.send("c", { flags: "A", seq: 1001, ack: 5001, payload: data(1000) });
    flow.send("c", { flags: "A", seq: 1001, ack: 5001, payload: data(10) });
    expect(flow.send("s", { flags: "A", seq: 5001, ack: 2001 })).toBe("same");
  });

  test("a closed window may be probed with one byte (RFC 9293 section 3.8.6.1)", () => {
    const flow = new Tracked({ flags: "S", seq: 1000 });
    flow.send("s", { flags: "SA", seq: 5000, ack: 1001, window: 100 });
    flow.send("c", { flags: "A", seq: 1001, ack: 5001, payload: data(100) });
    flow.send("s", { flags: "A", seq: 5001, ack: 1101, window: 0 });
    expect(flow.send("c", { flags: "A", seq: 1101, ack: 5001, payload: data(1) })).toBe("same");
  });
});

describe("reset (RFC 5961 section 3)", () => {
  test("outside the window is dropped", () => {
    const flow = new Tracked().establish();
    expect(flow.send("s", { flags: "R", seq: 900_000 })).toBe("window");
    expect(flow.send("s", { flags: "R", seq: 5001 - 70_000 })).toBe("window");
    expect(flow.state).toBe("established");
  });

  test("below what was acknowledged, or with an acknowledgement of what was never sent, it is dropped", () => {
    const flow = new Tracked().establish();
    flow.send("s", { flags: "A", seq: 5001, ack: 1001, payload: data(100) });
    flow.send("c", { flags: "A", seq: 1001, ack: 5101 });
    expect(flow.send("s", { flags: "R", seq: 5100 })).toBe("window");
    expect(flow.send("s", { flags: "RA", seq: 5101, ack: 1002 })).toBe("window");
    expect(flow.send("s", { flags: "RA", seq: 5101, ack: 900_000 })).toBe("window");
    expect(flow.state).toBe("established");
    expect(flow.send("s", { flags: "RA", seq: 5101, ack: 0 })).toBe("changed");
  });

  test("inside the window but not exact passes and ends nothing: the end point answers with a challenge", () => {
    const flow = new Tracked().establish();
    expect(flow.send("s", { flags: "R", seq: 5100 })).toBe("ignored");
    expect(flow.state).toBe("established");
  });

  test("exactly at the next expected number ends the flow", () => {
    const flow = new Tracked().establish();
    expect(flow.send("s", { flags: "R", seq: 5001 })).toBe("changed");
    expect(flow.state).toBe("closed");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 })).toBe("ignored");
  });
});

describe("after a takeover", () => {
  test("the first segment of each side seeds its window anew, the rest is strict again", () => {
    const flow = new Tracked().establish().takenOver();
    expect(flow.send("c", { flags: "A", seq: 3_000_000, ack: 9_000_000 })).toBe("reseeded");
    expect(flow.send("s", { flags: "A", seq: 9_000_000, ack: 3_000_000, payload: data(100) })).toBe(
      "reseeded",
    );
    expect(flow.send("c", { flags: "A", seq: 3_000_000, ack: 9_000_100 })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 60_000_000, ack: 9_000_100 })).toBe("window");
    expect(flow.state).toBe("established");
  });

  test("a segment from nowhere near the replica's windows seeds nothing", () => {
    const flow = new Tracked().establish().takenOver();
    expect(flow.send("c", { flags: "A", seq: 0x40000000, ack: 5001 })).toBe("window");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 })).toBe("reseeded");
  });

  test("a handshake that went on unseen is believed: the client answers a SYN-ACK that another node passed on", () => {
    const flow = new Tracked().takenOver();
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 5001 })).toBe("reseeded");
    expect(flow.send("s", { flags: "A", seq: 5001, ack: 1001, payload: data(1000) })).toBe("reseeded");
    expect(flow.state).toBe("established");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 6001, payload: data(1000) })).toBe("same");
    expect(flow.send("c", { flags: "A", seq: 900_000, ack: 6001 })).toBe("window");
  });

  test("the same when the server speaks first, with scaled windows that nobody here saw offered", () => {
    const flow = new Tracked({ flags: "S", seq: 1000, scale: 7 }).takenOver();
    expect(flow.send("s", { flags: "A", seq: 5001, ack: 1001, window: 500, payload: data(1000) })).toBe(
      "reseeded",
    );
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 6001, window: 500 })).toBe("reseeded");
    expect(flow.state).toBe("established");
    expect(flow.send("c", { flags: "A", seq: 1001, ack: 6001, payload: data(60_000) })).toBe("same");
    expect(flow.send("s", { flags: "A", seq: 6001, ack: 61_001, payload: data(60_000) })).toBe("same");
  });

  test("without a takeover an ACK that answers no SYN-ACK stays invalid", () => {
    expect(new Tracked().send("c", { flags: "A", seq: 1001, ack: 5001 })).toBe("invalid");
  });

  test("a close that the replica missed is learned from the segments that follow", () => {
    const flow = new Tracked().establish().takenOver();
    flow.send("c", { flags: "FA", seq: 1001, ack: 5001 });
    expect(flow.state).toBe("fin_wait");
  });
});
