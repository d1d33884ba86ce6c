import { describe, expect, test } from "vitest";
import { F_STATE, ROW_WORDS } from "../../../../src/dataplane/flow-layout.ts";
import {
  FtpLine,
  LINE_EPRT,
  LINE_EPSV,
  LINE_OTHER,
  LINE_PASV,
  LINE_PORT,
} from "../../../../src/dataplane/helpers/ftp-lines.ts";
import { HELPER_FTP } from "../../../../src/dataplane/policy-model.ts";
import { ADJUSTMENT_TCP } from "../../../../src/dataplane/satellites.ts";
import { TCP_FIN_WAIT } from "../../../../src/dataplane/tcp-state.ts";
import { FLAG_SYN, FLAG_URG, TestPacket } from "./packets.ts";
import { addressText, Rig } from "./rig.ts";

/** One control connection; both sides count from 1. */
class Control {
  readonly rig: Rig;
  readonly row: number;
  readonly next = [1, 1];
  /** Numbers as the other side counts: what it acknowledges. */
  readonly seen = [1, 1];
  readonly #ends: readonly [string, number][];

  constructor(original: string, reply: string, rig = new Rig(HELPER_FTP)) {
    this.rig = rig;
    this.row = rig.table.flow(6, original, reply);
    this.#ends = [original, reply].map((text) => {
      const from = text.split(" > ")[0]!;
      const colon = from.lastIndexOf(":");
      return [from.slice(0, colon).replace(/[[\]]/g, ""), Number(from.slice(colon + 1))];
    });
  }

  /** The next text of a side; it arrives and is acknowledged with the other side's next text or by ack(). */
  say(direction: number, payload: string, more: { seq?: number; flags?: number } = {}): TestPacket {
    const seq = more.seq ?? this.next[direction]!;
    const [from, sport] = this.#ends[direction]!;
    const [to, dport] = this.#ends[1 - direction]!;
    const spec = {
      from,
      to,
      sport,
      dport,
      seq,
      ack: this.seen[1 - direction]!,
      payload,
      flags: more.flags ?? 0x18,
    };
    const packet = this.rig.send(this.row, direction, 6, spec);
    if (this.rig.result !== "drop") {
      if (more.seq === undefined) this.next[direction] = seq + payload.length;
      this.seen[direction] = Math.max(this.seen[direction]!, packet.seq + packet.payload.length);
      expect(packet.faults()).toEqual([]);
    }
    return packet;
  }

  client(payload: string): string {
    return this.say(0, payload).text;
  }

  server(payload: string): string {
    return this.say(1, payload).text;
  }

  /** A pure acknowledgement of what the other side said. */
  ack(direction: number): void {
    const [from, sport] = this.#ends[direction]!;
    const [to, dport] = this.#ends[1 - direction]!;
    const numbers = { seq: this.next[direction]!, ack: this.seen[1 - direction]! };
    this.rig.send(this.row, direction, 6, { from, to, sport, dport, ...numbers, flags: 0x10 });
  }
}

/** A client inside behind SNAT, a server outside. */
const snat = (rig?: Rig): Control =>
  new Control("10.0.0.2:4000 > 198.51.100.7:21", "198.51.100.7:21 > 203.0.113.1:61000", rig);
/** A client outside, a server inside behind DNAT. */
const dnat = (rig?: Rig): Control =>
  new Control("198.51.100.7:4000 > 203.0.113.1:21", "10.0.0.9:21 > 198.51.100.7:4000", rig);
const routed = (): Control =>
  new Control("10.0.0.2:4000 > 198.51.100.7:21", "198.51.100.7:21 > 10.0.0.2:4000");
const routed6 = (): Control =>
  new Control("[2001:db8:1::2]:4000 > [2001:db8:2::7]:21", "[2001:db8:2::7]:21 > [2001:db8:1::2]:4000");
/** IPv6 through NAT66. */
const snat6 = (): Control =>
  new Control("[fd00::2]:4000 > [2001:db8:2::7]:21", "[2001:db8:2::7]:21 > [2001:db8:9::1]:61000");
const dnat6 = (): Control =>
  new Control("[2001:db8:2::7]:4000 > [2001:db8:9::1]:21", "[fd00::9]:21 > [2001:db8:2::7]:4000");

describe("lines that announce a data connection", () => {
  const line = new FtpLine();
  const read = (text: string, isServer: boolean): string => {
    const bytes = Buffer.from(text, "latin1");
    const kind = line.read(bytes, 0, bytes.length, isServer);
    if (kind === LINE_OTHER) return "other";
    const name = { [LINE_PORT]: "port", [LINE_EPRT]: "eprt", [LINE_PASV]: "pasv", [LINE_EPSV]: "epsv" }[kind];
    return `${name} ${line.hasAddress ? `${addressText(line.address, 0)} ` : ""}${line.port}`;
  };

  test.each([
    ["PORT 10,0,0,2,15,161\r\n", "port 10.0.0.2 4001"],
    ["port 10,0,0,2,15,161\r\n", "port 10.0.0.2 4001"],
    ["PoRt  10,0,0,2,15,161 \r\n", "port 10.0.0.2 4001"],
    ["PORT 10,0,0,2,15,161\n", "port 10.0.0.2 4001"],
    ["PORT 10,0,0,2,15\r\n", "other"],
    ["PORT 10,0,0,2,15,256\r\n", "other"],
    ["PORT 10,0,0,2,15,161,1\r\n", "other"],
    ["PORT 10.0.0.2,15,161\r\n", "other"],
    ["XPORT 10,0,0,2,15,161\r\n", "other"],
    ["PORTX 10,0,0,2,15,161\r\n", "other"],
    ["PORT\r\n", "other"],
    ["EPRT |1|10.0.0.2|4001|\r\n", "eprt 10.0.0.2 4001"],
    ["eprt !1!10.0.0.2!4001!\r\n", "eprt 10.0.0.2 4001"],
    ["EPRT |2|2001:db8:1::2|4001|\r\n", "eprt 2001:db8:1::2 4001"],
    ["EPRT |2|2001:DB8:1::2|4001|\r\n", "eprt 2001:db8:1::2 4001"],
    ["EPRT |1|2001:db8:1::2|4001|\r\n", "other"],
    ["EPRT |2|10.0.0.2|4001|\r\n", "other"],
    ["EPRT |3|10.0.0.2|4001|\r\n", "other"],
    ["EPRT |1|10.0.0.2|65536|\r\n", "other"],
    ["EPRT |1|10.0.0.2|4001\r\n", "other"],
    ["EPRT 1110.0.0.2140011\r\n", "other"],
    ["227 Entering Passive Mode (10,0,0,2,15,161)\r\n", "other"],
  ])("a client's %j is %s (RFC 959, RFC 2428)", (text, result) => expect(read(text, false)).toBe(result));

  test.each([
    // vsftpd, proftpd, pure-ftpd, IIS, an old BSD, and those that left the parentheses out.
    ["227 Entering Passive Mode (192,0,2,1,195,80).\r\n", "pasv 192.0.2.1 50000"],
    ["227 Entering Passive Mode (192,0,2,1,195,80)\r\n", "pasv 192.0.2.1 50000"],
    ["227 Entering Passive Mode( 192, 0, 2, 1, 195,80).\r\n", "pasv 192.0.2.1 50000"],
    ["227 Entering Passive Mode 192,0,2,1,195,80\r\n", "pasv 192.0.2.1 50000"],
    ["227 192,0,2,1,195,80\r\n", "pasv 192.0.2.1 50000"],
    ["227 =192,0,2,1,195,80\r\n", "pasv 192.0.2.1 50000"],
    ["227 Ok 7 (192,0,2,1,195,80)\r\n", "pasv 192.0.2.1 50000"],
    ["227-Entering Passive Mode (192,0,2,1,195,80)\r\n", "other"],
    ["227 Entering Passive Mode (\r\n", "other"],
    ["227 Entering Passive Mode (1,192,0,2,1,195,80)\r\n", "other"],
    ["229 Entering Extended Passive Mode (|||50000|)\r\n", "epsv 50000"],
    ["229 Entering Extended Passive Mode (|||50000|).\r\n", "epsv 50000"],
    ["229 Extended Passive mode OK (|||50000|)\r\n", "epsv 50000"],
    ["229 Entering Extended Passive Mode (!!!50000!).\r\n", "epsv 50000"],
    ["229 Entering Extended Passive Mode (|1|192.0.2.1|50000|)\r\n", "other"],
    ["229 Entering Extended Passive Mode (||50000|)\r\n", "other"],
    ["229 Entering Extended Passive Mode |||50000|\r\n", "other"],
    ["PORT 10,0,0,2,15,161\r\n", "other"],
  ])("a server's %j is %s (RFC 959, RFC 1123 section 4.1.2.6, RFC 2428)", (text, result) =>
    expect(read(text, true)).toBe(result),
  );
});

describe("behind SNAT", () => {
  test("PORT names the pool's address and a port of the master's slot, and the server may connect", () => {
    const control = snat();
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toBe("PORT 203,0,113,1,156,67\r\n");
    expect(control.rig.expected()).toEqual(["tcp 198.51.100.7:* > 203.0.113.1:40003"]);
    const { rig } = control;
    expect(rig.arrive(6, "198.51.100.8", 20, "203.0.113.1", 40_003, 1)).toBe("nothing");
    expect(rig.arrive(6, "198.51.100.7", 20, "203.0.113.1", 40_003, 0)).toBe("nothing");
    expect(rig.arrive(6, "198.51.100.7", 20, "203.0.113.1", 40_003, 1)).toBe(
      "10.0.0.2:4001 from 198.51.100.7",
    );
    expect(rig.arrive(6, "198.51.100.7", 20, "203.0.113.1", 40_003, 1)).toBe("nothing");
  });

  test("EPRT is rewritten in its own form and with its own delimiter", () => {
    expect(snat().client("EPRT |1|10.0.0.2|4001|\r\n")).toBe("EPRT |1|203.0.113.1|40003|\r\n");
    expect(snat().client("EPRT !1!10.0.0.2!4001!\r\n")).toBe("EPRT !1!203.0.113.1!40003!\r\n");
    expect(snat6().client("EPRT |2|fd00::2|4001|\r\n")).toBe("EPRT |2|2001:db8:9::1|40003|\r\n");
  });

  test("a passive reply stays as it is; the client may connect, and appears as its master does", () => {
    for (const reply of ["227 Entering Passive Mode (198,51,100,7,195,80).\r\n", "229 Ok (|||50000|)\r\n"]) {
      const control = snat();
      expect(control.server(reply)).toBe(reply);
      expect(control.rig.expected()).toEqual(["tcp 10.0.0.2:* > 198.51.100.7:50000"]);
      expect(control.rig.arrive(6, "10.0.0.2", 4444, "198.51.100.7", 50_000, 0)).toBe(
        "198.51.100.7:50000 from 203.0.113.1 (shown)",
      );
    }
  });

  test("a client that knows its outside address may say so", () => {
    expect(snat().client("PORT 203,0,113,1,15,161\r\n")).toBe("PORT 203,0,113,1,156,67\r\n");
  });

  test("a session goes on after its text grew, twice, in both ends' numbers", () => {
    const control = snat();
    control.rig.ports = [50_000, 1024];
    control.server("220 (vsFTPd 3.0.5)\r\n");
    const port = control.say(0, "PORT 10,0,0,2,15,161\r\n");
    expect([port.text, port.seq]).toEqual(["PORT 203,0,113,1,195,80\r\n", 1]);
    expect(control.say(1, "200 PORT command successful.\r\n").ack).toBe(1 + 22);
    const eprt = control.say(0, "EPRT |1|10.0.0.2|65535|\r\n");
    expect([eprt.text, eprt.seq]).toEqual(["EPRT |1|203.0.113.1|1024|\r\n", 1 + 25]);
    expect(control.say(1, "200 EPRT command successful.\r\n").ack).toBe(1 + 22 + 25);
    expect(control.say(0, "QUIT\r\n").seq).toBe(1 + 25 + 27);
  });
});

describe("behind DNAT", () => {
  test("a passive reply names the outside address and a port that leads to the server", () => {
    const control = dnat();
    expect(control.server("227 Entering Passive Mode (10,0,0,9,195,80).\r\n")).toBe(
      "227 Entering Passive Mode (203,0,113,1,156,66).\r\n",
    );
    expect(control.rig.expected()).toEqual(["tcp 198.51.100.7:* > 203.0.113.1:40002"]);
    expect(control.rig.arrive(6, "198.51.100.7", 1234, "203.0.113.1", 40_002, 0)).toBe(
      "10.0.0.9:50000 from 198.51.100.7",
    );
  });

  test("so does an extended one, of both families", () => {
    expect(dnat().server("229 Entering Extended Passive Mode (|||50000|)\r\n")).toBe(
      "229 Entering Extended Passive Mode (|||40002|)\r\n",
    );
    const control = dnat6();
    expect(control.server("229 Entering Extended Passive Mode (|||50000|)\r\n")).toBe(
      "229 Entering Extended Passive Mode (|||40002|)\r\n",
    );
    expect(control.rig.expected()).toEqual(["tcp 2001:db8:2::7:* > 2001:db8:9::1:40002"]);
  });

  test("a server that announces its outside address itself works too", () => {
    const control = dnat();
    control.rig.ports = [50_000];
    const reply = "227 Entering Passive Mode (203,0,113,1,195,80).\r\n";
    expect(control.server(reply)).toBe(reply);
    expect(control.rig.arrive(6, "198.51.100.7", 1234, "203.0.113.1", 50_000, 0)).toBe(
      "10.0.0.9:50000 from 198.51.100.7",
    );
  });

  test("the server's active connection comes from the address that the client asked", () => {
    const control = dnat();
    expect(control.client("PORT 198,51,100,7,15,161\r\n")).toBe("PORT 198,51,100,7,15,161\r\n");
    expect(control.rig.arrive(6, "10.0.0.9", 20, "198.51.100.7", 4001, 1)).toBe(
      "198.51.100.7:4001 from 203.0.113.1 (shown)",
    );
  });
});

test("without NAT nothing is rewritten and the announced connection may come, of both families", () => {
  const control = routed();
  expect(control.client("PORT 10,0,0,2,15,161\r\n")).toBe("PORT 10,0,0,2,15,161\r\n");
  expect(control.rig.arrive(6, "198.51.100.7", 20, "10.0.0.2", 4001, 1)).toBe(
    "10.0.0.2:4001 from 198.51.100.7",
  );
  const control6 = routed6();
  expect(control6.client("EPRT |2|2001:db8:1::2|4001|\r\n")).toBe("EPRT |2|2001:db8:1::2|4001|\r\n");
  expect(control6.server("229 Entering Extended Passive Mode (|||50000|)\r\n")).toContain("50000");
  expect(control6.rig.expected()).toEqual([
    "tcp 2001:db8:1::2:* > 2001:db8:2::7:50000",
    "tcp 2001:db8:2::7:* > 2001:db8:1::2:4001",
  ]);
});

describe("what opens nothing", () => {
  test.each([
    ["another host's address (FTP bounce)", "PORT 10,0,0,3,15,161\r\n"],
    ["the server's address", "PORT 198,51,100,7,15,161\r\n"],
    ["a service's port", "PORT 10,0,0,2,0,22\r\n"],
    ["port 0", "PORT 10,0,0,2,0,0\r\n"],
    ["another family", "EPRT |2|fd00::2|4001|\r\n"],
    ["a line that does not end", "PORT 10,0,0,2,15,161"],
    ["a reply in a client's mouth", "227 Entering Passive Mode (10,0,0,2,15,161)\r\n"],
  ])("%s", (_, text) => {
    const control = snat();
    expect(control.client(text)).toBe(text);
    expect(control.rig.expected()).toEqual([]);
  });

  test("a line that was broken over two segments", () => {
    const control = snat();
    control.client("NOOP ");
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("10,0,0,2");
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("203,0,113,1");
    expect(control.rig.expected()).toHaveLength(1);
  });

  test("a reply that quotes what a client said, even at the beginning of a segment", () => {
    const control = routed();
    control.server("500 Unknown command: ");
    control.server("227 Entering Passive Mode (198,51,100,7,195,80)\r\n");
    expect(control.rig.expected()).toEqual([]);
  });

  test("a line inside a reply of several lines (RFC 959 section 4.2)", () => {
    const control = routed();
    control.server("213-Status of x\r\n227 Entering Passive Mode (198,51,100,7,195,80)\r\n");
    control.server("229 x (|||50000|)\r\n213 End\r\n");
    expect(control.rig.expected()).toEqual([]);
    control.server("227 Entering Passive Mode (198,51,100,7,195,80)\r\n");
    expect(control.rig.expected()).toHaveLength(1);
  });

  test("a segment with data in its SYN, and one that is no text", () => {
    const control = snat();
    const syn = control.say(0, "PORT 10,0,0,2,15,161\r\n", { flags: FLAG_SYN });
    expect([syn.text, control.rig.expected()]).toEqual(["PORT 10,0,0,2,15,161\r\n", []]);
  });

  test("a line in a segment with urgent data, since its pointer would point elsewhere", () => {
    const control = snat();
    control.say(0, "PORT 10,0,0,2,15,161\r\n", { flags: 0x18 | FLAG_URG });
    expect([control.rig.result, control.rig.counter("helperRefused")]).toEqual(["pass", 1]);
  });

  test("a text that would no longer fit the way out", () => {
    const control = snat();
    control.rig.totalBytesMax = 62;
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toBe("PORT 10,0,0,2,15,161\r\n");
    expect(control.rig.counter("helperRefused")).toBe(1);
  });

  test("a segment with a wrong checksum: a new one would hide it", () => {
    const control = snat();
    control.rig.send(control.row, 0, 6, {
      from: "10.0.0.2",
      to: "198.51.100.7",
      sport: 4000,
      dport: 21,
      seq: 1,
      payload: "PORT 10,0,0,2,15,161\r\n",
      noChecksum: true,
    });
    expect([control.rig.result, control.rig.expected()]).toEqual(["pass", []]);
  });

  test("anything when no port is left", () => {
    const control = snat();
    control.rig.ports = [-1];
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toBe("PORT 10,0,0,2,15,161\r\n");
    expect(control.rig.counter("helperRefused")).toBe(1);
  });
});

describe("after AUTH (RFC 4217)", () => {
  test("the helper stands down once the server agreed, and offsets stay", () => {
    const control = snat();
    control.client("PORT 10,0,0,2,15,161\r\n");
    control.server("200 Ok\r\n");
    control.client("auth tls\r\n");
    control.server("234 Proceed with negotiation.\r\n");
    const packet = control.say(0, "PORT 10,0,0,2,15,161\r\n");
    expect(packet.text).toBe("PORT 10,0,0,2,15,161\r\n");
    expect(packet.seq).toBe(control.next[0]! - 22 + 3);
    // What is not text is not read in order.
    control.say(0, "\x16\x03\x01", { seq: control.next[0]! + 100 });
    expect(control.rig.result).toBe("pass");
  });

  test("it goes on when the server declined", () => {
    const control = snat();
    control.client("AUTH TLS\r\n");
    control.server("530 Please login.\r\n");
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("203,0,113,1");
  });
});

describe("repeated, lost and early segments", () => {
  test("a repeated announcement becomes the same text, with one offset and one expectation", () => {
    const control = snat();
    const first = control.say(0, "PORT 10,0,0,2,15,161\r\n");
    const again = control.say(0, "PORT 10,0,0,2,15,161\r\n", { seq: 1 });
    expect([again.text, again.seq]).toEqual([first.text, first.seq]);
    expect(control.rig.expected()).toHaveLength(1);
    expect(control.say(0, "NOOP\r\n").seq).toBe(1 + first.payload.length);
  });

  test("also after the expected connection came, and together with what follows", () => {
    const control = snat();
    const first = control.say(0, "PORT 10,0,0,2,15,161\r\n");
    control.rig.arrive(6, "198.51.100.7", 20, "203.0.113.1", 40_003, 1);
    const again = control.say(0, "PORT 10,0,0,2,15,161\r\nLIST\r\n", { seq: 1 });
    expect(again.text).toBe(`${first.text}LIST\r\n`);
    expect(control.rig.expected()).toEqual([]);
    control.next[0] = 29;
    expect(control.say(0, "NOOP\r\n").seq).toBe(29 + 3);
  });

  test("a repetition of a settled announcement is old to its receiver, whatever it says", () => {
    const control = snat();
    control.client("PORT 10,0,0,2,15,161\r\n");
    control.server("200 Ok\r\n");
    const again = control.say(0, "PORT 10,0,0,2,15,161\r\n", { seq: 1 });
    expect(again.seq + again.payload.length).toBe(1 + 25);
    expect(control.rig.expected()).toHaveLength(1);
  });

  test("a second announcement waits until the first one is acknowledged", () => {
    const control = snat();
    control.client("PORT 10,0,0,2,15,161\r\n");
    control.say(0, "PORT 10,0,0,2,15,162\r\n");
    expect(control.rig.result).toBe("drop");
    control.ack(1);
    expect(control.client("PORT 10,0,0,2,15,162\r\n")).toContain("203,0,113,1");
    expect(control.rig.expected()).toHaveLength(2);
  });

  test("a segment that comes before what it follows waits, so that no text is ahead of a change", () => {
    const control = snat();
    control.client("USER x\r\n");
    control.say(0, "LIST\r\n", { seq: 9 + 22 });
    expect(control.rig.result).toBe("drop");
    control.client("PORT 10,0,0,2,15,161\r\n");
    control.say(0, "LIST\r\n", { seq: 9 + 22 });
    expect(control.rig.result).toBe("pass");
  });

  test("what its receiver has without our seeing it is not waited for; the next whole line counts again", () => {
    const control = snat();
    control.client("USER x\r\n");
    control.seen[0] = 50;
    control.ack(1);
    control.next[0] = 50;
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("10,0,0,2");
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("203,0,113,1");
  });
});

describe("expectations of a control connection", () => {
  test("hold 30 s, and for the newest two announcements", () => {
    const control = routed();
    for (const low of [161, 162, 163]) {
      control.client(`PORT 10,0,0,2,15,${low}\r\n`);
      control.rig.table.clock[0]! += 100;
    }
    expect(control.rig.expected()).toEqual([
      "tcp 198.51.100.7:* > 10.0.0.2:4002",
      "tcp 198.51.100.7:* > 10.0.0.2:4003",
    ]);
    control.rig.table.doubles[control.row * 31 + 13] = 1e9;
    control.rig.wait(31_000);
    expect([control.rig.expected(), control.rig.counter("expectationsExpired")]).toEqual([[], 2]);
  });

  test("end with their master, and hold only while it is open (FFW_RUL_EXT.2.1)", () => {
    const control = routed();
    control.client("PORT 10,0,0,2,15,161\r\n");
    control.rig.table.words[control.row * ROW_WORDS + F_STATE] = TCP_FIN_WAIT;
    expect(control.rig.arrive(6, "198.51.100.7", 20, "10.0.0.2", 4001, 1)).toBe("nothing");
    control.rig.end(control.row);
    expect(control.rig.table.allRows()).toEqual([]);
  });

  test("are limited in all", () => {
    const rig = new Rig(HELPER_FTP, { expectationsMax: 1 });
    const one = new Control("10.0.0.2:4000 > 198.51.100.7:21", "198.51.100.7:21 > 10.0.0.2:4000", rig);
    const two = new Control("10.0.0.3:4000 > 198.51.100.7:21", "198.51.100.7:21 > 10.0.0.3:4000", rig);
    one.client("PORT 10,0,0,2,15,161\r\n");
    two.client("PORT 10,0,0,3,15,161\r\n");
    expect([rig.expected().length, rig.counter("helperRefused")]).toEqual([1, 1]);
  });

  test("of two masters with neighbouring ports are told apart", () => {
    const rig = new Rig(HELPER_FTP);
    const controls = [21, 22, 23].map(
      (port) =>
        new Control(`10.0.0.2:4000 > 198.51.100.7:${port}`, `198.51.100.7:${port} > 10.0.0.2:4000`, rig),
    );
    for (const [i, control] of controls.entries()) control.client(`PORT 10,0,0,2,15,${161 + i}\r\n`);
    expect(rig.expected()).toHaveLength(3);
    rig.end(controls[1]!.row);
    expect(rig.expected()).toEqual([
      "tcp 198.51.100.7:* > 10.0.0.2:4001",
      "tcp 198.51.100.7:* > 10.0.0.2:4003",
    ]);
  });

  test("make room for a new session of the same ends, but not while theirs lives", () => {
    const rig = new Rig(HELPER_FTP);
    const make = (port: number): Control =>
      new Control(`10.0.0.2:${port} > 198.51.100.7:21`, `198.51.100.7:21 > 10.0.0.2:${port}`, rig);
    const one = make(4000);
    const two = make(4100);
    one.client("PORT 10,0,0,2,19,136\r\n");
    two.client("PORT 10,0,0,2,19,136\r\n");
    expect(rig.counter("helperRefused")).toBe(1);
    // The first master is gone without a word.
    rig.table.end(one.row);
    two.ack(1);
    two.client("PORT 10,0,0,2,19,136\r\n");
    expect(rig.expected()).toEqual(["tcp 198.51.100.7:* > 10.0.0.2:5000"]);
    expect(rig.helpers.expectations.masterOf(rig.find(6, "198.51.100.7", "10.0.0.2", 5000, 1))).toBe(two.row);
  });
});

test("neighbours behind one address that choose one port are announced different ones", () => {
  const rig = new Rig(HELPER_FTP);
  const controls = [2, 3].map(
    (host) =>
      new Control(
        `10.0.0.${host}:4000 > 198.51.100.7:21`,
        `198.51.100.7:21 > 203.0.113.1:${61_000 + host}`,
        rig,
      ),
  );
  rig.ports = [4001, 4001, 4003];
  expect(controls[0]!.client("PORT 10,0,0,2,15,161\r\n")).toBe("PORT 203,0,113,1,15,161\r\n");
  expect(controls[1]!.client("PORT 10,0,0,3,15,161\r\n")).toBe("PORT 203,0,113,1,15,163\r\n");
  expect(rig.arrive(6, "198.51.100.7", 20, "203.0.113.1", 4003, 1)).toBe("10.0.0.3:4001 from 198.51.100.7");
});

test("a fragment of a control connection is dropped, unless nothing is read there any more", () => {
  const control = snat();
  const fragment = (): string => {
    const ends = { from: "10.0.0.2", to: "198.51.100.7", sport: 4000, dport: 21 };
    const packet = new TestPacket(6, { ...ends, seq: control.next[0]!, payload: "PORT 10,0,0," });
    packet.isFragment = true;
    control.rig.process(control.row, 0, packet);
    return control.rig.result;
  };
  control.client("PORT 10,0,0,2,15,161\r\n");
  control.ack(1);
  expect(fragment()).toBe("drop");
  control.client("AUTH TLS\r\n");
  control.server("234 Ok\r\n");
  expect(fragment()).toBe("pass");
});

test("the port of a connection that has just ended is not announced again", () => {
  const control = snat();
  control.rig.ports = [5000, 5002];
  control.rig.table.flow(6, "198.51.100.7:20 > 203.0.113.1:5000", "10.0.0.2:4001 > 198.51.100.7:20");
  expect(control.client("PORT 10,0,0,2,15,161\r\n")).toBe("PORT 203,0,113,1,19,138\r\n");
});

describe("on a node that does not decide the flow", () => {
  test("announcements and what follows them wait; the rest passes", () => {
    const control = snat();
    control.client("USER x\r\n");
    control.rig.isOwner = false;
    control.client("PASS y\r\n");
    expect(control.rig.result).toBe("pass");
    control.say(0, "PORT 10,0,0,2,15,161\r\n");
    expect(control.rig.result).toBe("drop");
    control.say(0, "LIST\r\n", { seq: 1 + 8 + 8 + 22 });
    expect(control.rig.result).toBe("drop");
    expect(control.rig.expected()).toEqual([]);
    control.rig.isOwner = true;
    expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("203,0,113,1");
  });

  test("a repeated change is made again from what was replicated, and nothing is published", () => {
    const control = snat();
    const first = control.say(0, "PORT 10,0,0,2,15,161\r\n");
    control.rig.isOwner = false;
    const published = control.rig.table.published.length;
    const again = control.say(0, "PORT 10,0,0,2,15,161\r\n", { seq: 1 });
    expect([again.text, again.seq]).toEqual([first.text, first.seq]);
    expect(control.rig.table.published).toHaveLength(published);
  });
});

test("a flow without the helper is not looked at, and has no satellite", () => {
  const control = new Control(
    "10.0.0.2:4000 > 198.51.100.7:21",
    "198.51.100.7:21 > 203.0.113.1:61000",
    new Rig(0),
  );
  expect(control.client("PORT 10,0,0,2,15,161\r\n")).toContain("10,0,0,2");
  expect(control.rig.table.rows(ADJUSTMENT_TCP)).toEqual([]);
});
