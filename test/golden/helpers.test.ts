/**
 * Golden transcripts of helpers: sessions as real programs hold them (helpers/*.txt), what leaves of them and what is then
 * expected (helpers/*.out). Read the diff of an .out file before `npx vitest run test/golden/helpers.test.ts -u` takes it over.
 *
 *   helper ftp | sip | tftp                       from here on
 *   flow tcp CLIENT > SERVER, SERVER > CLIENT     as its client sees it, as its server answers; outside: client | server
 *   C text | S text                               a line of the client, of the server; \r\n is added
 *   C { ... }                                     several lines in one packet; [len]: bytes behind the empty line
 *   arrive udp FROM > TO zone N                   a packet of no flow: who gets it, and from whom
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { HELPER_FTP, HELPER_SIP, HELPER_TFTP } from "../../src/dataplane/policy-model.ts";
import { Rig } from "../unit/dataplane/helpers/rig.ts";

const FOLDER = fileURLToPath(new URL("./helpers/", import.meta.url));
const HELPERS: Readonly<Record<string, number>> = { ftp: HELPER_FTP, sip: HELPER_SIP, tftp: HELPER_TFTP };
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17 };

test.each(readdirSync(FOLDER).filter((name) => name.endsWith(".txt")))("%s", async (name) => {
  const script = readFileSync(join(FOLDER, name), "utf8");
  await expect(new Session().run(script)).toMatchFileSnapshot(join(FOLDER, name.replace(/txt$/, "out")));
});

interface End {
  readonly ip: string;
  readonly port: number;
}

class Session {
  #rig = new Rig(0);
  #row = -1;
  #protocol = 6;
  #ends: (readonly [End, End])[] = [];
  /** By direction: the next number, and what the other end has of it in its own numbers. */
  #next = [1, 1];
  #seen = [1, 1];
  #expected: string[] = [];
  readonly #out: string[] = [];

  run(script: string): string {
    const lines = script.split("\n");
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i]!;
      this.#out.push(line);
      if (/^[CS] \{$/.test(line)) {
        const end = lines.indexOf("}", i);
        const block = lines.slice(i + 1, end);
        this.#out.push(...block, "}");
        const text = block.map((each) => `${each}\r\n`).join("");
        const bodyBytes = text.length - text.indexOf("\r\n\r\n") - 4;
        this.#say(line[0] === "C" ? 0 : 1, text.replace("[len]", String(bodyBytes)));
        i = end;
      } else if (/^[CS] /.test(line)) {
        this.#say(line[0] === "C" ? 0 : 1, `${line.slice(2)}\r\n`);
      } else if (line !== "" && !line.startsWith("#")) {
        this.#command(line.split(/\s+/));
      }
    }
    return `${this.#out.join("\n").trimEnd()}\n`;
  }

  #command(words: string[]): void {
    const [verb, first, ...rest] = words as [string, string, ...string[]];
    if (verb === "helper") {
      this.#rig = new Rig(HELPERS[first]!);
    } else if (verb === "flow") {
      const [original, reply] = rest.join(" ").split(", ") as [string, string];
      const [to, outside] = reply.split("; outside: ") as [string, string];
      this.#protocol = PROTOCOLS[first]!;
      this.#row = this.#rig.table.flow(this.#protocol, original, to, 1e9);
      this.#rig.outerSide = outside === "client" ? 0 : 1;
      this.#ends = [original, to].map((text) => text.split(" > ").map(endOf) as [End, End]);
      this.#next = [1, 1];
      this.#seen = [1, 1];
    } else if (verb === "arrive") {
      const [from, , to, , zone] = rest;
      const [source, destination] = [endOf(first === "tcp" || first === "udp" ? from! : first), endOf(to!)];
      const got = this.#rig.arrive(
        PROTOCOLS[first]!,
        source.ip,
        source.port,
        destination.ip,
        destination.port,
        Number(zone),
      );
      this.#out.push(`  -> ${got}`);
      this.#tell();
    }
  }

  #say(direction: number, payload: string): void {
    const [from, to] = this.#ends[direction]!;
    const packet = this.#rig.send(this.#row, direction, this.#protocol, {
      from: from.ip,
      to: to.ip,
      sport: from.port,
      dport: to.port,
      seq: this.#next[direction]!,
      ack: this.#seen[1 - direction]!,
      payload,
    });
    expect(packet.faults()).toEqual([]);
    this.#next[direction] = this.#next[direction]! + payload.length;
    this.#seen[direction] = packet.seq + packet.payload.length;
    const numbers = this.#protocol === 6 ? ` seq ${packet.seq} ack ${packet.ack}` : "";
    if (this.#rig.result === "pass" && packet.text === payload) this.#out.push(`  -> as it is${numbers}`);
    else {
      this.#out.push(`  -> ${this.#rig.result}${numbers}`);
      const before = payload.split("\r\n");
      for (const line of packet.text.split("\r\n")) {
        if (!before.includes(line)) this.#out.push(`     ${line}`);
      }
    }
    this.#tell();
  }

  /** What is expected now and was not, or no more. */
  #tell(): void {
    const now = this.#rig.expected();
    for (const each of now) if (!this.#expected.includes(each)) this.#out.push(`     + ${each}`);
    for (const each of this.#expected) if (!now.includes(each)) this.#out.push(`     - ${each}`);
    this.#expected = now;
  }
}

function endOf(text: string): End {
  const colon = text.lastIndexOf(":");
  return { ip: text.slice(0, colon).replace(/[[\]]/g, ""), port: Number(text.slice(colon + 1)) };
}
