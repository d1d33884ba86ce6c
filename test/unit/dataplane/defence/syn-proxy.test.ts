import { describe, expect, test } from "vitest";
import { SynCookies } from "../../../../src/dataplane/defence/syn-cookie.ts";
import { CAUTIOUS_PROMISE, type ServerPromise } from "../../../../src/dataplane/defence/syn-proxy.ts";
import { NONE } from "../../../../src/dataplane/flow-layout.ts";
import { TCP_CLOSED, TCP_ESTABLISHED, tcpState } from "../../../../src/dataplane/tcp-state.ts";
import { TEST_KEY } from "../world.ts";
import { ProxyGate } from "./proxy-gate.ts";
import type { Seg } from "./segments.ts";

const FULL_PROMISE: ServerPromise = { ...CAUTIOUS_PROMISE, scale: 7, isSackPermitted: true };
const S = 0x7fffffff;
const T = -5;

describe.each([
  ["IPv4", "192.0.2.1", "10.0.0.80"],
  ["IPv6", "2001:db8::1", "2001:db8:1::80"],
])("RFC 4987 section 3.7, SYN proxy, %s", (family, client, server) => {
  const fromClient = (part: Partial<Seg>): Seg => ({
    ...{ from: client, to: server, sport: 40_000, dport: 80, flags: "A", seq: S + 1, ack: 0, window: 500 },
    ...part,
  });
  const fromServer = (part: Partial<Seg>): Seg => ({
    ...{ from: server, to: client, sport: 80, dport: 40_000, flags: "SA", seq: T, ack: S + 1, window: 8000 },
    ...part,
  });
  const SYN = fromClient({ flags: "S", seq: S, window: 64_000, mss: 1452, scale: 9, sack: true });
  const mss = family === "IPv4" ? 1460 : 1440;

  /** A gate whose client has its answer; the cookie in it. */
  function answered(promise = CAUTIOUS_PROMISE) {
    const gate = new ProxyGate(client, promise);
    gate.receive(SYN);
    return { gate, cookie: gate.toClient.shift()!.seq };
  }

  /** A gate that has sent its SYN to the server. */
  function pending(promise = CAUTIOUS_PROMISE) {
    const { gate, cookie } = answered(promise);
    gate.receive(fromClient({ ack: cookie + 1 }));
    return { gate, cookie, syn: gate.toServer.shift()! };
  }

  function opened(promise = CAUTIOUS_PROMISE, answer: Partial<Seg> = {}) {
    const { gate, cookie } = pending(promise);
    gate.receive(fromServer({ mss, ...answer }));
    return { gate, cookie, toServer: gate.toServer.shift()!, toClient: gate.toClient.shift()! };
  }

  test("no answer tells of larger segments than the zones allow (RFC 9293 section 3.7.1)", () => {
    for (const [mssMax, told] of [
      [1300, 1300],
      [9000, mss],
    ] as const) {
      const gate = new ProxyGate(client);
      gate.mssMax = mssMax;
      gate.receive(SYN);
      const answer = gate.toClient.shift()!;
      expect(answer.mss).toBe(told);
      gate.receive(fromClient({ ack: answer.seq + 1 }));
      // The client did not hear it, and asks again.
      gate.receive(SYN);
      expect(gate.toClient.shift()).toMatchObject({ flags: "SA", mss: told });
      gate.receive(fromServer({ mss: told }));
      expect(gate.count("synProxyMismatched")).toBe(0);
    }
  });

  test("a SYN is answered with a closed window and without a row", () => {
    const gate = new ProxyGate(client);
    gate.receive(SYN);
    const [answer] = gate.toClient;
    expect(answer).toMatchObject({ from: server, to: client, sport: 80, dport: 40_000, flags: "SA" });
    expect(answer).toMatchObject({ ack: (S + 1) | 0, window: 0, mss });
    expect(answer!.scale).toBeUndefined();
    expect(answer!.sack).toBeUndefined();
    expect(gate.table.used).toBe(0);
    expect(gate.toServer).toEqual([]);
  });

  test("the acknowledgement of the cookie becomes the SYN, with what the client said as far as a cookie holds it", () => {
    expect(pending().syn).toEqual({
      ...{ from: client, to: server, sport: 40_000, dport: 80, flags: "S" },
      ...{ seq: S, ack: 0, window: 500, mss: 1440 },
    });
    expect(pending(FULL_PROMISE).syn).toMatchObject({ mss: 1440, scale: 8, sack: true, window: 65_535 });
  });

  test("what is promised for the server is offered to clients that know it, and no more", () => {
    const gate = new ProxyGate(client, FULL_PROMISE);
    gate.receive(SYN);
    gate.receive({ ...SYN, scale: undefined } as unknown as Seg);
    gate.receive({ ...SYN, sack: false });
    const offers = gate.toClient.map(({ scale, sack }) => [scale, sack]);
    expect(offers).toEqual([
      [7, true],
      [undefined, true],
      [undefined, undefined],
    ]);
  });

  test("a wrong acknowledgement is nothing, and is counted", () => {
    const { gate, cookie } = answered();
    gate.receive(fromClient({ ack: cookie + 2 }));
    gate.receive(fromClient({ ack: cookie + 1, seq: S + 5 }));
    gate.receive(fromClient({ ack: cookie + 1, flags: "FA" }));
    expect(gate.row).toBe(NONE);
    expect(gate.toServer).toEqual([]);
    expect(gate.count("synCookiesInvalid")).toBe(2);
  });

  test("a probe of the closed window counts as the acknowledgement when that was lost", () => {
    const { gate, cookie } = answered();
    gate.receive(fromClient({ ack: cookie + 1, seq: S }));
    expect(gate.toServer).toMatchObject([{ flags: "S", seq: S }]);
  });

  test("data in the acknowledgement is left out: the client was told that there is no room", () => {
    const { gate, cookie } = answered();
    gate.receive(fromClient({ ack: cookie + 1, flags: "PA", data: "GET /" }));
    expect(gate.toServer).toMatchObject([{ flags: "S", seq: S }]);
    expect(gate.toServer[0]!.data).toBeUndefined();
  });

  test("another node goes on where one gave the cookie", () => {
    const { cookie } = answered();
    const other = new ProxyGate(client, CAUTIOUS_PROMISE, new SynCookies(TEST_KEY));
    other.receive(fromClient({ ack: cookie + 1 }));
    expect(other.toServer).toMatchObject([{ flags: "S", seq: S }]);
  });

  test("the server's answer opens both sides", () => {
    const { gate, cookie, toServer, toClient } = opened();
    expect(toServer).toEqual({
      ...{ from: client, to: server, sport: 40_000, dport: 80, flags: "A" },
      ...{ seq: (S + 1) | 0, ack: T + 1, window: 500 },
    });
    expect(toClient).toEqual({
      ...{ from: server, to: client, sport: 80, dport: 40_000, flags: "A" },
      ...{ seq: (cookie + 1) | 0, ack: (S + 1) | 0, window: 8000 },
    });
    expect(tcpState(gate.table.words, gate.row)).toBe(TCP_ESTABLISHED);
  });

  test("windows are scaled from the first acknowledgement on when both sides were promised it", () => {
    const { gate, toServer, toClient } = opened(FULL_PROMISE, { scale: 7, sack: true, window: 64_000 });
    expect(toServer.window).toBe(65_535 >>> 8);
    expect(toClient.window).toBe(64_000 >>> 7);
    expect(gate.count("synProxyMismatched")).toBe(0);
  });

  test("a server that offers less than was promised is counted, and the connection goes on", () => {
    const { gate, toServer } = opened(FULL_PROMISE, { window: 64_000 });
    expect(gate.count("synProxyMismatched")).toBe(1);
    expect(toServer.window).toBe(65_535);
    expect(tcpState(gate.table.words, gate.row)).toBe(TCP_ESTABLISHED);
  });

  test("data goes both ways by numbers that each end knows", () => {
    const { gate, cookie } = opened();
    gate.receive(fromClient({ ack: cookie + 1, flags: "PA", data: "ping" }));
    gate.receive(fromServer({ flags: "PA", seq: T + 1, ack: S + 5, data: "pong" }));
    gate.receive(fromClient({ seq: S + 5, ack: cookie + 5 }));
    expect(gate.toServer).toMatchObject([
      { seq: (S + 1) | 0, ack: T + 1, data: "ping" },
      { seq: (S + 5) | 0, ack: T + 5 },
    ]);
    expect(gate.toClient).toMatchObject([{ seq: (cookie + 1) | 0, ack: (S + 5) | 0, data: "pong" }]);
  });

  describe("while the server is silent", () => {
    test.each([
      ["the acknowledgement again", fromClient({})],
      ["a probe of the closed window", fromClient({ seq: S })],
      ["data that the client may not send yet", fromClient({ flags: "PA", data: "x" })],
    ])("%s sends the SYN again", (_, seg) => {
      const { gate, cookie, syn } = pending();
      gate.receive({ ...seg, ack: cookie + 1 });
      expect(gate.toServer).toEqual([syn]);
    });

    test.each([
      ["a wrong acknowledgement", { ack: 7 }],
      ["data further on", { seq: S + 9, data: "x" }],
      ["a FIN", { flags: "FA" }],
    ])("%s is dropped", (_, part) => {
      const { gate, cookie } = pending();
      gate.receive(fromClient({ ack: cookie + 1, ...part }));
      expect([...gate.toServer, ...gate.toClient]).toEqual([]);
    });

    test("the SYN again gets the same answer", () => {
      const { gate, cookie } = pending();
      gate.receive(SYN);
      expect(gate.toClient).toMatchObject([{ flags: "SA", seq: cookie, ack: (S + 1) | 0, window: 0 }]);
    });

    test("another SYN begins anew", () => {
      const { gate } = pending();
      gate.receive({ ...SYN, seq: S + 1000 });
      expect(gate.row).toBe(NONE);
      expect(gate.toClient).toMatchObject([{ flags: "SA", ack: (S + 1001) | 0 }]);
    });

    test("a reset by the client ends the connection and reaches the server", () => {
      const { gate } = pending();
      gate.receive(fromClient({ flags: "R", ack: 0 }));
      expect(gate.toServer).toMatchObject([{ flags: "R", seq: (S + 1) | 0 }]);
      expect(tcpState(gate.table.words, gate.row)).toBe(TCP_CLOSED);
    });
  });

  test("RFC 9293 section 3.10.7.3: a refusal reaches the client in its own numbers", () => {
    const { gate, cookie } = pending();
    gate.receive(fromServer({ flags: "RA", seq: 0, window: 0 }));
    expect(gate.toClient).toMatchObject([{ flags: "RA", seq: (cookie + 1) | 0, ack: (S + 1) | 0 }]);
    expect(tcpState(gate.table.words, gate.row)).toBe(TCP_CLOSED);
    expect(gate.count("synProxyRefused")).toBe(1);
  });

  test.each([
    ["a reset that acknowledges something else", { flags: "RA", ack: S + 2 }],
    ["a reset without acknowledgement", { flags: "R", ack: 0 }],
    ["a SYN of the server's own", { flags: "S", ack: 0 }],
  ])("%s is dropped before the server answered", (_, part) => {
    const { gate } = pending();
    gate.receive(fromServer(part));
    expect([...gate.toServer, ...gate.toClient]).toEqual([]);
  });

  test("RFC 5961 section 4: a challenge of an old connection is reset, and the next probe opens the new one", () => {
    const { gate, cookie } = pending();
    gate.receive(fromServer({ flags: "A", seq: 900, ack: 300 }));
    expect(gate.toServer).toMatchObject([{ from: client, to: server, flags: "R", seq: 300 }]);
    gate.receive(fromClient({ seq: S, ack: cookie + 1 }));
    gate.receive(fromServer({ mss }));
    expect(tcpState(gate.table.words, gate.row)).toBe(TCP_ESTABLISHED);
  });

  test("a server that did not get the acknowledgement repeats itself, and the client acknowledges", () => {
    const { gate, cookie } = opened();
    gate.receive(fromServer({ mss }));
    expect(gate.toClient).toMatchObject([{ flags: "SA", seq: cookie }]);
    gate.receive(fromClient({ ack: cookie + 1 }));
    expect(gate.toServer).toMatchObject([{ flags: "A", seq: (S + 1) | 0, ack: T + 1 }]);
  });
});
