/**
 * Golden dataplane transcripts: packets in (dataplane/*.txt), verdicts and frames out (dataplane/*.out). Read the diff of an
 * .out file before `npx vitest run test/golden/dataplane.test.ts -u` takes it over.
 *
 *   inside udp 10.10.0.2:4000 > 198.51.100.100:53          a packet from a zone; $1 $2: address:port last seen leaving
 *   outside tcp 198.51.100.100:80 > $1 SA seq 5 ack 2      flags, then numbers
 *   inside echo 10.10.0.2 > 198.51.100.100 id 7 [reply]
 *   outside error 198.51.100.254 3/4 word 1400             about the last packet that left
 *   wait 30000 | lease over | lease back | show            time, fencing, flows and counters that are not zero
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { EXTRA_COUNTERS } from "../../src/dataplane/counters.ts";
import { type FlowEnd, FlowReader } from "../../src/dataplane/flow-reader.ts";
import { formatEnd } from "../../src/policy/address.ts";
import { describeFrame, echo, icmpError, see, tcp, udp } from "../unit/dataplane/frames.ts";
import { PORT_INSIDE, PORT_OUTSIDE, verdictName, World } from "../unit/dataplane/world.ts";

const FOLDER = fileURLToPath(new URL("./dataplane/", import.meta.url));
const PORT_NAMES = ["inside", "outside"];

test.each(readdirSync(FOLDER).filter((name) => name.endsWith(".txt")))("%s", async (name) => {
  const script = readFileSync(join(FOLDER, name), "utf8");
  await expect(new Transcript().run(script)).toMatchFileSnapshot(join(FOLDER, name.replace(/txt$/, "out")));
});

class Transcript {
  readonly #world = new World();
  readonly #reader = new FlowReader(this.#world.table.buffer);
  readonly #lines: string[] = [];
  /** Sources of IPv4 packets that left, as address:port, oldest first; and the last such packet. */
  readonly #seen: string[] = [];
  #last = new Uint8Array();

  run(script: string): string {
    for (const raw of script.split("\n")) {
      const line = raw.trim();
      this.#lines.push(raw);
      if (line !== "" && !line.startsWith("#")) this.#step(this.#fill(line));
    }
    return `${this.#lines.join("\n").trimEnd()}\n`;
  }

  #fill(line: string): string {
    return line.replace(/\$(\d+)(\.address|\.port)?/g, (_, n: string, part?: string) => {
      const [address, port] = this.#seen[Number(n) - 1]!.split(":") as [string, string];
      return part === ".address" ? address : part === ".port" ? port : `${address}:${port}`;
    });
  }

  #step(line: string): void {
    const world = this.#world;
    const words = line.split(/\s+/);
    const [first, second] = words as [string, string];
    if (first === "wait") {
      world.tick(Number(second));
    } else if (first === "lease") {
      world.view.leaseUntilMs[0] = second === "over" ? world.nowMs : Number.POSITIVE_INFINITY;
    } else if (first === "show") {
      this.#show();
    } else {
      const { packet, by } = this.#build(words);
      const verdict = world.packet(first === "inside" ? PORT_INSIDE : PORT_OUTSIDE, packet, by);
      this.#lines.push(`  => ${verdictName(verdict)}`);
    }
    for (const { port, frame } of world.take()) {
      const seen = see(frame);
      // Announcements go round all the time and say nothing here.
      if (seen.type === 0x8035) continue;
      if (seen.ip !== undefined) {
        this.#last = frame.slice(14, 14 + seen.ip.total);
        const at = `${seen.ip.from}:${seen.ip.sport}`;
        if (!this.#seen.includes(at)) this.#seen.push(at);
      }
      this.#lines.push(`  ${PORT_NAMES[port]}: ${describeFrame(frame)}`);
    }
    expect(world.lost()).toBe(0);
  }

  #build(words: readonly string[]): { packet: Uint8Array; by: string } {
    const [, kind, from, , to] = words as [string, string, string, string, string];
    const number = (name: string): number | undefined => {
      const at = words.indexOf(name);
      return at < 0 ? undefined : Number(words[at + 1]);
    };
    const ttl = number("ttl") ?? 64;
    if (kind === "error") {
      const [type, code] = words[3]!.split("/").map(Number) as [number, number];
      const target = see(Uint8Array.from([...new Uint8Array(12), 8, 0, ...this.#last])).ip!.from;
      return {
        packet: icmpError({ from, to: target, ttl }, type, code, this.#last, number("word") ?? 0),
        by: from,
      };
    }
    const [fromAddress, sport] = from.split(":") as [string, string];
    const [toAddress, dport] = to.split(":") as [string, string];
    const ends = { from: fromAddress, to: toAddress, ttl };
    const ports = { sport: Number(sport), dport: Number(dport) };
    if (kind === "echo") {
      return {
        packet: echo({ ...ends, id: number("id")!, isReply: words.includes("reply") }),
        by: fromAddress,
      };
    }
    const payload = new Uint8Array(number("bytes") ?? (kind === "udp" ? 5 : 0));
    if (kind === "udp") return { packet: udp({ ...ends, ...ports, payload }), by: fromAddress };
    return {
      packet: tcp({
        ...ends,
        ...ports,
        flags: words[5]!,
        seq: number("seq") ?? 0,
        ack: number("ack") ?? 0,
        payload,
      }),
      by: fromAddress,
    };
  }

  #show(): void {
    const end = ({ address, port }: FlowEnd): string => formatEnd(address, port);
    for (const flow of this.#reader.list({}, 100).flows) {
      const { original, reply } = flow;
      this.#lines.push(
        `  flow proto ${flow.protocol} ${flow.state} ${end(original.source)} > ${end(original.destination)}` +
          ` | ${end(reply.source)} > ${end(reply.destination)} slot ${flow.slot} rule ${flow.rule}` +
          ` packets ${flow.packets.join("/")} ends in ${Math.round(flow.deadlineMs - this.#world.nowMs)} ms`,
      );
    }
    const shown = EXTRA_COUNTERS.filter((name) => !/^(tx|rx|pool|announcements)/.test(name))
      .map((name) => [name, this.#world.count(name)] as const)
      .filter(([, count]) => count !== 0);
    this.#lines.push(`  ${shown.map(([name, count]) => `${name} ${count}`).join(", ")}`);
  }
}
