import { describe, expect, test } from "vitest";
import { NO_PROTECTION } from "../../../src/dataplane/defence/defence.ts";
import { F_PORTS, ROW_WORDS } from "../../../src/dataplane/flow-layout.ts";
import {
  HELPER_FTP,
  HELPER_SIP,
  HELPER_TFTP,
  type PolicyModel,
  type ProtectionModel,
} from "../../../src/dataplane/policy-model.ts";
import { TCP_ESTABLISHED, TCP_SYN_SENT, tcpState } from "../../../src/dataplane/tcp-state.ts";
import { icmpError, ipPacket, see, type TcpSpec, tcp, udp } from "./frames.ts";
import { invite } from "./helpers/sip-texts.ts";
import { Pair } from "./pair.ts";
import {
  INSIDE,
  LAB_POLICY,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  rule,
  type Sent,
  verdictName,
  World,
} from "./world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";

const HELPED: PolicyModel = {
  ...LAB_POLICY,
  rules: [
    rule(0, { fromZone: INSIDE, toZone: OUTSIDE, helpers: HELPER_FTP | HELPER_TFTP | HELPER_SIP }),
    ...LAB_POLICY.rules.slice(1),
  ],
};

function bodyOf(sent: Sent): string {
  const { body } = see(sent.frame).ip!;
  return Buffer.from(body.subarray(20)).toString("latin1");
}

const text = (line: string): Uint8Array => Uint8Array.from(Buffer.from(line, "latin1"));

/** Opens a control connection: what the server sees of the client. */
function control(world: World): { address: string; port: number } {
  const open: TcpSpec = { from: CLIENT, to: SERVER, sport: 5000, dport: 21, flags: "S", seq: 100 };
  world.packet(PORT_INSIDE, tcp(open));
  const { from: address, sport: port } = see(world.take().at(-1)!.frame).ip!;
  const back = { from: SERVER, to: address, sport: 21, dport: port };
  world.packet(PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 900, ack: 101 }));
  world.packet(PORT_INSIDE, tcp({ ...open, flags: "A", seq: 101, ack: 901 }));
  world.take();
  return { address, port };
}

describe("FTP through SNAT", () => {
  test("active: PORT names the outside address, the server's data connection gets in, and no other (FFW_RUL_EXT.2.1)", () => {
    const world = new World({ policy: HELPED });
    const { address } = control(world);
    const port = { from: CLIENT, to: SERVER, sport: 5000, dport: 21, flags: "PA", seq: 101, ack: 901 };
    world.packet(PORT_INSIDE, tcp({ ...port, payload: text("PORT 10,10,0,2,195,80\r\n") }));
    const line = bodyOf(world.takeOne());
    const numbers = /^PORT (\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\r\n$/.exec(line)!.slice(1).map(Number);
    expect(numbers.slice(0, 4).join(".")).toBe(address);
    const announced = numbers[4]! * 256 + numbers[5]!;
    const data = { from: SERVER, to: address, sport: 20, dport: announced, flags: "S", seq: 7 };
    expect(verdictName(world.packet(PORT_OUTSIDE, tcp({ ...data, from: "198.51.100.101" })))).not.toBe(
      "forwarded",
    );
    world.take();
    world.packet(PORT_OUTSIDE, tcp(data));
    expect(see(world.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: 195 * 256 + 80, bodyOk: true });
    // It was for one connection.
    expect(verdictName(world.packet(PORT_OUTSIDE, tcp({ ...data, sport: 22 })))).not.toBe("forwarded");
    expect(world.lost()).toBe(0);
  });

  test("lines pass whatever numbers they have", () => {
    const world = new World({ policy: HELPED });
    for (const direction of ["client", "server"]) {
      const sport = direction === "client" ? 6000 : 6001;
      const open: TcpSpec = { from: CLIENT, to: SERVER, sport, dport: 21, flags: "S", seq: 99 };
      world.packet(PORT_INSIDE, tcp(open));
      const { from: address, sport: natPort } = see(world.take().at(-1)!.frame).ip!;
      const back = { from: SERVER, to: address, sport: 21, dport: natPort };
      world.packet(PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 99, ack: 100 }));
      world.packet(PORT_INSIDE, tcp({ ...open, flags: "A", seq: 100, ack: 100 }));
      world.take();
      // 600 lines of five bytes: every low byte of a position occurs, twice and more.
      for (let seq = 100; seq < 3100; seq += 5) {
        const line = { payload: text("ABC\r\n"), flags: "PA", seq };
        if (direction === "client") {
          world.packet(PORT_INSIDE, tcp({ ...open, ...line, ack: 100 }));
          world.packet(PORT_OUTSIDE, tcp({ ...back, flags: "A", seq: 100, ack: seq + 5 }));
        } else {
          world.packet(PORT_OUTSIDE, tcp({ ...back, ...line, ack: 100 }));
          world.packet(PORT_INSIDE, tcp({ ...open, flags: "A", seq: 100, ack: seq + 5 }));
        }
        expect({ seq, sent: world.take().length }).toEqual({ seq, sent: 2 });
      }
    }
  });

  test("the control connection goes on with other numbers on either side, also after a takeover", () => {
    const pair = new Pair(HELPED);
    const owner = pair.worlds.find((world) => {
      world.packet(PORT_INSIDE, tcp({ from: CLIENT, to: SERVER, sport: 4999, dport: 80, flags: "S" }));
      return world.table.used > 0;
    })!;
    pair.settle();
    for (const world of pair.worlds) world.take();
    const open: TcpSpec = { from: CLIENT, to: SERVER, sport: 5000, dport: 21, flags: "S", seq: 100 };
    owner.packet(PORT_INSIDE, tcp(open));
    pair.settle();
    const { from: address, sport: natPort } = see(owner.take().at(-1)!.frame).ip!;
    const back = { from: SERVER, to: address, sport: 21, dport: natPort };
    owner.packet(PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 900, ack: 101 }));
    owner.packet(PORT_INSIDE, tcp({ ...open, flags: "A", seq: 101, ack: 901 }));
    const asked = text("PORT 10,10,0,2,195,80\r\n");
    owner.packet(PORT_INSIDE, tcp({ ...open, flags: "PA", seq: 101, ack: 901, payload: asked }));
    pair.settle();
    const said = bodyOf(owner.take().at(-1)!);
    const grown = said.length - asked.length;
    // The server acknowledges the longer line; the backup takes over at that moment.
    pair.assign(2, () => pair.other(owner).view.selfId);
    const heir = pair.other(owner);
    const end = 101 + said.length;
    heir.packet(PORT_OUTSIDE, tcp({ ...back, flags: "PA", seq: 901, ack: end, payload: text("200 ok\r\n") }));
    pair.settle();
    const heard = see(heir.take().at(-1)!.frame).ip!;
    expect(new DataView(heard.body.buffer, heard.body.byteOffset).getUint32(8)).toBe(101 + asked.length);
    heir.packet(
      PORT_INSIDE,
      tcp({ ...open, flags: "PA", seq: 101 + asked.length, ack: 909, payload: text("NOOP\r\n") }),
    );
    pair.settle();
    const next = see(heir.take().at(-1)!.frame).ip!;
    expect(new DataView(next.body.buffer, next.body.byteOffset).getUint32(4)).toBe(
      101 + asked.length + grown,
    );
    expect(next.bodyOk).toBe(true);
  });
});

test("TFTP: the server answers from another port, and only to who asked (RFC 1350 section 4)", () => {
  const world = new World({ policy: HELPED });
  const request = Uint8Array.from([0, 1, ...text("file\0octet\0")]);
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 3000, dport: 69, payload: request }));
  const asked = see(world.takeOne().frame).ip!;
  const data = { from: SERVER, to: asked.from, sport: 40_000, dport: asked.sport };
  world.packet(PORT_OUTSIDE, udp(data));
  expect(see(world.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: 3000, bodyOk: true });
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 3000, dport: 40_000 }));
  expect(see(world.takeOne().frame).ip).toMatchObject({
    from: asked.from,
    sport: asked.sport,
    dport: 40_000,
  });
  expect(world.lost()).toBe(0);
});

test("a port that was announced to a server is no other flow's: what answers TFTP would have been refused (RFC 1350 section 4)", () => {
  const world = new World({ policy: HELPED });
  const caller = { ip: CLIENT, port: 5060, mediaPort: 6000 };
  const call = text(invite({ from: caller, to: { ip: SERVER, port: 5060 } }));
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5060, dport: 5060, payload: call }));
  const announced = Number(/m=audio (\d+) /.exec(bodyOf(world.takeOne()))![1]);
  const request = Uint8Array.from([0, 1, ...text("file\0octet\0")]);
  // Its own port would be free.
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: announced, dport: 69, payload: request }));
  const asked = see(world.takeOne().frame).ip!;
  expect(asked.sport).not.toBe(announced);
  world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: asked.from, sport: 40_000, dport: asked.sport }));
  expect(see(world.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: announced, bodyOk: true });
  // And the caller gets what is sent to it.
  world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: asked.from, sport: 7000, dport: announced }));
  expect(see(world.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: 6000, bodyOk: true });
  expect(world.lost()).toBe(0);
});

test("SIP: a datagram with bytes behind its own end is not rewritten: no other packet's bytes leave in their place (RFC 768)", () => {
  const world = new World({ policy: HELPED, chunks: 64 });
  const secret = text("SECRET-".repeat(200));
  for (let i = 0; i < 64; i++) {
    world.packet(
      PORT_INSIDE,
      udp({ from: "10.10.0.77", to: SERVER, sport: 2000, dport: 9, payload: secret }),
    );
  }
  world.tick(1);
  world.take();
  const message = text(
    [
      `OPTIONS sip:${SERVER} SIP/2.0`,
      `Via: SIP/2.0/UDP ${CLIENT}:5060;branch=z9hG4bK1`,
      "From: <sip:a@example.org>;tag=1",
      "To: <sip:a@example.org>",
      "Call-ID: 1",
      "CSeq: 1 OPTIONS",
      ...Array.from({ length: 20 }, () => `Contact: <sip:a@${CLIENT}>`),
      "Content-Length: 0",
      "",
      "",
    ].join("\r\n"),
  );
  const surplus = 200;
  const datagram = new Uint8Array(8 + message.length + surplus).fill(0x2e);
  const header = new DataView(datagram.buffer);
  header.setUint16(0, 5060);
  header.setUint16(2, 5060);
  header.setUint16(4, 8 + message.length);
  header.setUint16(6, 0);
  datagram.set(message, 8);
  world.packet(PORT_INSIDE, ipPacket(17, { from: CLIENT, to: SERVER }, datagram));
  const { body } = see(world.takeOne().frame).ip!;
  expect(Buffer.from(body.subarray(8)).equals(Buffer.from(datagram.subarray(8)))).toBe(true);
  expect(world.count("helperEdits")).toBe(0);
});

const PROTECTION: ProtectionModel = { ...NO_PROTECTION, synProxyAbove: 4 };

const sequenceOf = (sent: Sent): number => {
  const { body } = see(sent.frame).ip!;
  return new DataView(body.buffer, body.byteOffset).getUint32(4);
};

describe("FTP in a flood (RFC 959 section 3.2, RFC 4987 section 3.7)", () => {
  test.each([
    ["translated", HELPED],
    ["routed", { ...HELPED, snat: [] }],
  ])("an announced data connection needs no cookie, %s", (_, policy) => {
    const world = new World({ policy: { ...policy, protection: PROTECTION } });
    const { address } = control(world);
    const port = { from: CLIENT, to: SERVER, sport: 5000, dport: 21, flags: "PA", seq: 101, ack: 901 };
    world.packet(PORT_INSIDE, tcp({ ...port, payload: text("PORT 10,10,0,2,195,80\r\n") }));
    const numbers = /,(\d+),(\d+)\r/.exec(bodyOf(world.takeOne()))!.slice(1).map(Number);
    for (let i = 0; i < 6; i++) {
      const syn = { from: "10.10.0.9", to: SERVER, sport: 7000 + i, dport: 80, flags: "S" };
      world.packet(PORT_INSIDE, tcp(syn));
    }
    world.take();
    expect(world.count("synCookiesSent")).toBe(1);
    const data = { from: SERVER, to: address, sport: 20, dport: numbers[0]! * 256 + numbers[1]! };
    world.packet(PORT_OUTSIDE, tcp({ ...data, flags: "S", seq: 7 }));
    const syn = world.takeOne();
    expect(see(syn.frame).ip).toMatchObject({ to: CLIENT, dport: 195 * 256 + 80, flags: "S", bodyOk: true });
    expect(sequenceOf(syn)).toBe(7);
    const seen = see(syn.frame).ip!;
    const back = { from: CLIENT, to: seen.from, sport: 195 * 256 + 80, dport: seen.sport };
    world.packet(PORT_INSIDE, tcp({ ...back, flags: "SA", seq: 70, ack: 8 }));
    world.packet(PORT_OUTSIDE, tcp({ ...data, flags: "A", seq: 8, ack: 71 }));
    expect(world.take().map((sent) => see(sent.frame).ip!.flags)).toEqual(["SA", "A"]);
    expect(world.count("synCookiesSent")).toBe(1);
  });
});

describe("SYN proxy", () => {
  test("a client that proves its address gets through a flood of forged SYNs, and its data too (RFC 4987 section 3.7)", () => {
    const world = new World({ policy: { ...LAB_POLICY, protection: PROTECTION } });
    const web = { to: "198.51.100.10", dport: 8080 };
    for (let i = 0; i < 40; i++) {
      world.packet(
        PORT_OUTSIDE,
        tcp({ ...web, from: `198.51.100.${100 + i}`, sport: 1000 + i, flags: "S", seq: i }),
      );
    }
    world.take();
    expect(world.table.used).toBeLessThan(8);
    const client = { ...web, from: "198.51.100.50", sport: 7777 };
    world.packet(PORT_OUTSIDE, tcp({ ...client, flags: "S", seq: 1000 }));
    const answer = see(world.takeOne().frame).ip!;
    expect(answer).toMatchObject({ from: web.to, to: client.from, flags: "SA", bodyOk: true });
    const cookie = new DataView(answer.body.buffer, answer.body.byteOffset).getUint32(4);
    world.packet(PORT_OUTSIDE, tcp({ ...client, flags: "A", seq: 1001, ack: cookie + 1 }));
    const syn = see(world.takeOne().frame).ip!;
    expect(syn).toMatchObject({ to: "10.10.0.250", dport: 80, flags: "S", bodyOk: true });
    const server = { from: "10.10.0.250", to: client.from, sport: 80, dport: 7777 };
    world.packet(PORT_INSIDE, tcp({ ...server, flags: "SA", seq: 5_000_000, ack: 1001 }));
    const [one, two] = world.take().map(({ frame }) => see(frame).ip!);
    const toServer = [one, two].find((seen) => seen!.to === "10.10.0.250")!;
    const toClient = [one, two].find((seen) => seen!.to === client.from)!;
    expect(toServer).toMatchObject({ flags: "A", bodyOk: true });
    expect(toClient).toMatchObject({ flags: "A", from: web.to, bodyOk: true });
    world.packet(
      PORT_OUTSIDE,
      tcp({ ...client, flags: "PA", seq: 1001, ack: cookie + 1, payload: text("GET /") }),
    );
    const asked = see(world.takeOne().frame).ip!;
    expect(asked).toMatchObject({ to: "10.10.0.250", bodyOk: true });
    expect(new DataView(asked.body.buffer, asked.body.byteOffset).getUint32(8)).toBe(5_000_001);
    world.packet(
      PORT_INSIDE,
      tcp({ ...server, flags: "PA", seq: 5_000_001, ack: 1006, payload: text("hello") }),
    );
    const told = see(world.takeOne().frame).ip!;
    expect(told).toMatchObject({ to: client.from, from: web.to, bodyOk: true });
    expect(new DataView(told.body.buffer, told.body.byteOffset).getUint32(4)).toBe((cookie + 1) >>> 0);
    expect(world.lost()).toBe(0);
  });

  /** A client of the web server in a flood that has its cookie. */
  function answered(policy: PolicyModel) {
    const world = new World({ policy: { ...policy, protection: PROTECTION } });
    const web = { to: "198.51.100.10", dport: 8080 };
    for (let i = 0; i < 8; i++) {
      const from = `198.51.100.${100 + i}`;
      world.packet(PORT_OUTSIDE, tcp({ ...web, from, sport: 1000 + i, flags: "S", seq: i }));
    }
    world.take();
    const client = { ...web, from: "198.51.100.50", sport: 7777 };
    world.packet(PORT_OUTSIDE, tcp({ ...client, flags: "S", seq: 1000 }));
    return { world, client, answer: world.takeOne() };
  }

  test("the answer tells of no larger segments than the zones on the way allow (RFC 9293 section 3.7.1)", () => {
    for (const [inside, outside, told] of [
      [0, 0, 1460],
      [1300, 0, 1300],
      [1300, 1200, 1200],
    ] as const) {
      const zones = LAB_POLICY.zones.map((zone, i) => ({ ...zone, mssMax: i === INSIDE ? inside : outside }));
      const { body } = see(answered({ ...LAB_POLICY, zones }).answer.frame).ip!;
      expect([...body.subarray(20, 24)]).toEqual([2, 4, told >>> 8, told & 0xff]);
    }
  });

  test("a server's answer with IP options opens the connection (RFC 791 section 3.1)", () => {
    const { world, client, answer } = answered(LAB_POLICY);
    world.packet(PORT_OUTSIDE, tcp({ ...client, flags: "A", seq: 1001, ack: sequenceOf(answer) + 1 }));
    world.take();
    const entry = Array.from({ length: world.table.capacity }, (_, row) => row).find(
      (row) =>
        tcpState(world.table.words, row) === TCP_SYN_SENT &&
        world.table.words[row * ROW_WORDS + F_PORTS]! >>> 16 === 7777,
    )!;
    const server = { from: "10.10.0.250", to: client.from, sport: 80, dport: 7777 };
    const options = Uint8Array.of(1, 1, 1, 0);
    world.packet(PORT_INSIDE, tcp({ ...server, options, flags: "SA", seq: 5_000_000, ack: 1001 }));
    expect(world.take().map(({ frame }) => see(frame).ip!.flags)).toEqual(["A", "A"]);
    expect(tcpState(world.table.words, entry)).toBe(TCP_ESTABLISHED);
  });

  test.each([
    ["translated", HELPED],
    ["routed", { ...HELPED, snat: [] }],
  ])(
    "errors about what the server sent reach it in its own numbers, however much they quote (RFC 792), %s",
    (_, policy) => {
      const world = new World({ policy: { ...policy, protection: PROTECTION } });
      for (let i = 0; i < 8; i++) {
        const syn = { from: "10.10.0.9", to: SERVER, sport: 7000 + i, dport: 80, flags: "S" };
        world.packet(PORT_INSIDE, tcp(syn));
      }
      world.take();
      const client = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
      world.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100 }));
      const cookie = sequenceOf(world.takeOne());
      world.packet(PORT_INSIDE, tcp({ ...client, flags: "A", seq: 101, ack: cookie + 1 }));
      const seen = see(world.takeOne().frame).ip!;
      const server = { from: SERVER, to: seen.from, sport: 80, dport: seen.sport };
      world.packet(PORT_OUTSIDE, tcp({ ...server, flags: "SA", seq: 9000, ack: 101 }));
      world.take();
      const data = { ...server, flags: "A", seq: 9001, ack: 101, payload: new Uint8Array(1000) };
      world.packet(PORT_OUTSIDE, tcp(data));
      const delivered = world.takeOne().frame.slice(14);
      for (const quotedBytes of [28, 32, 40, 60]) {
        const about = delivered.slice(0, quotedBytes);
        const error = icmpError({ from: "10.10.0.3", to: SERVER }, 3, 4, about, 1280);
        expect(verdictName(world.packet(PORT_INSIDE, error))).toBe("forwarded");
        const { body, bodyOk } = see(world.takeOne().frame).ip!;
        const view = new DataView(body.buffer, body.byteOffset);
        expect([quotedBytes, bodyOk, view.getUint32(8 + 20 + 4)]).toEqual([quotedBytes, true, 9001]);
      }
    },
  );

  test("a client that begins anew while its server has not answered ends nothing at a fenced node", () => {
    const world = new World({ policy: { ...LAB_POLICY, protection: PROTECTION }, ringRecords: 256 });
    world.view.backup.fill(2);
    const web = { to: "198.51.100.10", dport: 8080 };
    for (let i = 0; i < 8; i++) {
      const forged = { ...web, from: `198.51.100.${100 + i}`, sport: 1000 + i };
      world.packet(PORT_OUTSIDE, tcp({ ...forged, flags: "S", seq: i }));
    }
    world.take();
    const client = { ...web, from: "198.51.100.50", sport: 7777 };
    world.packet(PORT_OUTSIDE, tcp({ ...client, flags: "S", seq: 1000 }));
    const answer = see(world.takeOne().frame).ip!;
    const cookie = new DataView(answer.body.buffer, answer.body.byteOffset).getUint32(4);
    world.packet(PORT_OUTSIDE, tcp({ ...client, flags: "A", seq: 1001, ack: cookie + 1 }));
    const facts = () => ({ rows: world.table.used, records: world.ring!.length() });
    const before = facts();
    const anew = tcp({ ...client, flags: "S", seq: 777_777 });
    world.view.leaseUntilMs[0] = 0;
    expect(verdictName(world.packet(PORT_OUTSIDE, anew))).toBe("fenced");
    expect(facts()).toEqual(before);
    world.view.leaseUntilMs[0] = Number.POSITIVE_INFINITY;
    expect(verdictName(world.packet(PORT_OUTSIDE, anew))).toBe("answered");
    expect(facts().rows).toBe(before.rows - 2);
  });

  test("a wrong acknowledgement is refused", () => {
    const world = new World({ policy: { ...LAB_POLICY, protection: PROTECTION } });
    const ack = { from: SERVER, to: "198.51.100.10", sport: 9, dport: 8080, flags: "A", seq: 5, ack: 77 };
    expect(verdictName(world.packet(PORT_OUTSIDE, tcp(ack)))).toBe("syn_cookie");
  });
});
