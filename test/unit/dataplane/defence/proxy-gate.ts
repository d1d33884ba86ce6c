/**
 * A gate with nothing but a SYN proxy, for tests: one connection between a client and a server, wired as an engine has to wire it:
 * row, satellite, tracker, shifted numbers. Cookies are always asked for.
 */
import { COUNTER_CELLS, counterIndex, type ExtraCounter } from "../../../../src/dataplane/counters.ts";
import { SynCookies } from "../../../../src/dataplane/defence/syn-cookie.ts";
import {
  CAUTIOUS_PROMISE,
  isProxyPending,
  JUDGED_AGAIN,
  JUDGED_ANSWER,
  JUDGED_DROP,
  JUDGED_OPEN,
  JUDGED_SYN,
  type ServerPromise,
  SynProxy,
} from "../../../../src/dataplane/defence/syn-proxy.ts";
import { F_META, F_WINDOW, NONE, ROW_WORDS } from "../../../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../../../src/dataplane/flow-table.ts";
import {
  beginTcp,
  isOpening,
  TRACK_INVALID,
  TRACK_NEW,
  TRACK_OUT_OF_WINDOW,
  trackTcp,
} from "../../../../src/dataplane/tcp-tracker.ts";
import { TEST_KEY } from "../world.ts";
import { addressAsWords, build, read, type Seg } from "./segments.ts";

const FRAME = 300;
const SPARE = 2048;

export class ProxyGate {
  /** What left, to whom. */
  readonly toClient: Seg[] = [];
  readonly toServer: Seg[] = [];
  readonly table = new FlowTable(8, TEST_KEY);
  readonly counters = new Float64Array(COUNTER_CELLS);
  /** What the zones on the way allow. */
  mssMax = 0;
  row = NONE;
  satellite = NONE;
  readonly #client: string;
  readonly #proxy: SynProxy;
  readonly #bytes = new Uint8Array(4096);
  readonly #packet = { words: new Int32Array(8), isIpv6: false, ipAt: FRAME, l4At: 0 };
  #total = 0;

  constructor(client: string, promise: ServerPromise = CAUTIOUS_PROMISE, cookies = new SynCookies(TEST_KEY)) {
    this.#client = client;
    this.#proxy = new SynProxy(cookies, promise, this.counters);
  }

  count(name: ExtraCounter): number {
    return this.counters[counterIndex(name)]!;
  }

  /** A segment arrives. */
  receive(seg: Seg): void {
    this.#load(build(seg));
    const direction = seg.from === this.#client ? 0 : 1;
    if (this.row === NONE) this.#miss(direction);
    else this.#hit(direction, seg);
  }

  #miss(direction: number): void {
    const packet = this.#packet;
    if (direction !== 0) return;
    if (isOpening(this.#flags())) {
      this.#total = this.#proxy.answerSyn(packet, this.#bytes, this.mssMax);
      this.#leave(this.toClient);
      return;
    }
    this.#total = this.#proxy.recreateSyn(packet, this.#bytes);
    if (this.#total === NONE) return;
    this.#reload();
    const { table } = this;
    this.row = table.alloc();
    beginTcp(table, this.row, this.#bytes, packet.l4At, this.#tcpBytes());
    this.satellite = table.alloc();
    this.#proxy.begin(table.words, this.satellite);
    this.#leave(this.toServer);
  }

  #hit(direction: number, seg: Seg): void {
    const { row, satellite } = this;
    const { words } = this.table;
    const packet = this.#packet;
    if (isProxyPending(words, satellite)) {
      const judged = this.#proxy.judge(packet, this.#bytes, direction, words, row, satellite, this.mssMax);
      if (this.#proxy.bytesNow !== 0) {
        this.#total = this.#proxy.bytesNow;
        this.#reload();
      }
      if (judged === JUDGED_DROP) return;
      if (judged === JUDGED_AGAIN) {
        this.end();
        this.receive(seg);
        return;
      }
      if (judged === JUDGED_SYN) this.#leave(this.toServer);
      else if (judged === JUDGED_ANSWER) this.#leave(direction === 0 ? this.toClient : this.toServer);
      else this.#pass(direction, seg, judged === JUDGED_OPEN);
      return;
    }
    this.#restore(direction);
    this.#pass(direction, seg, false);
  }

  #pass(direction: number, seg: Seg, isOpening: boolean): void {
    if (!this.#track(direction, seg)) return;
    if (isOpening) this.#open();
    else this.#shift(direction);
    this.#leave(direction === 0 ? this.toServer : this.toClient);
  }

  /** The connection's rows go. */
  end(): void {
    this.table.release(this.row);
    this.table.release(this.satellite);
    this.row = NONE;
    this.satellite = NONE;
  }

  #open(): void {
    const { table, row, satellite } = this;
    const bytes = this.#bytes;
    const spareBytes = this.#proxy.open(this.#packet, bytes, table.words, row, satellite, SPARE, this.mssMax);
    const ack = bytes.slice(SPARE, SPARE + spareBytes);
    const headerBytes = this.#packet.isIpv6 ? 40 : 20;
    trackTcp(table, row, 0, bytes, SPARE + headerBytes, spareBytes - headerBytes);
    this.toServer.push(read(ack));
    this.#total = this.#proxy.bytesNow;
    this.#reload();
    this.#shift(1);
  }

  #track(direction: number, seg: Seg): boolean {
    const words = this.table.words;
    words[this.row * ROW_WORDS + F_META] = 6;
    const result = trackTcp(
      this.table,
      this.row,
      direction,
      this.#bytes,
      this.#packet.l4At,
      this.#tcpBytes(),
    );
    if (result === TRACK_NEW) {
      this.end();
      this.receive(seg);
      return false;
    }
    return result !== TRACK_INVALID && result !== TRACK_OUT_OF_WINDOW;
  }

  /** A client's acknowledgement, in the server's numbers: what adjustments do. */
  #restore(direction: number): void {
    if (direction === 0) this.#change({ ack: -this.#offset() });
  }

  /** A server's number, as the client knows it. */
  #shift(direction: number): void {
    if (direction === 1) this.#change({ seq: this.#offset() });
  }

  #change(by: { readonly seq?: number; readonly ack?: number }): void {
    const seg = read(this.#bytes.slice(FRAME, FRAME + this.#total));
    const hasAck = seg.flags.includes("A");
    this.#load(
      build({
        ...seg,
        seq: (seg.seq + (by.seq ?? 0)) | 0,
        ack: hasAck ? (seg.ack + (by.ack ?? 0)) | 0 : seg.ack,
      }),
    );
  }

  #offset(): number {
    const at = this.satellite * ROW_WORDS + F_WINDOW + 3;
    if (this.table.words[at + 1] !== this.table.words[at + 2]) throw new Error("the offset is not constant");
    return this.table.words[at + 2]!;
  }

  #load(packet: Uint8Array): void {
    this.#bytes.fill(0xee);
    this.#bytes.set(packet, FRAME);
    this.#total = packet.length;
    this.#reload();
  }

  #reload(): void {
    const seg = read(this.#bytes.slice(FRAME, FRAME + this.#total));
    const packet = this.#packet;
    packet.isIpv6 = this.#bytes[FRAME]! >>> 4 === 6;
    packet.l4At = FRAME + (packet.isIpv6 ? 40 : (this.#bytes[FRAME]! & 15) * 4);
    packet.words.set([...addressAsWords(seg.from), ...addressAsWords(seg.to)]);
  }

  #flags(): number {
    return this.#bytes[this.#packet.l4At + 13]!;
  }

  #tcpBytes(): number {
    return FRAME + this.#total - this.#packet.l4At;
  }

  #leave(to: Seg[]): void {
    to.push(read(this.#bytes.slice(FRAME, FRAME + this.#total)));
  }
}
