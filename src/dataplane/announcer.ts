/**
 * Announcer: moves virtual MACs in the switches: one broadcast frame from each virtual MAC, in each zone. The frame is a
 * reverse ARP request (RFC 903), which hosts ignore. Owns what is still to be announced, and the round that repeats all.
 */
import { ARP_BYTES, ARP_SENDER_MAC, ARP_TARGET_MAC, RARP_REQUEST, writeArp } from "../packet/arp.ts";
import {
  ETHER_RARP,
  ETHERNET_BYTES,
  fillMac,
  MAC_BYTES,
  padFrame,
  setEtherType,
} from "../packet/ethernet.ts";
import { isExclusive } from "./arp-answer.ts";
import { MAX_SLOTS } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import { virtualMac } from "./virtual-mac.ts";

/**
 * Every owned slot is announced again in this time. Switches forget an address after 300 s, and all of them at once when their
 * topology changes: from then on every node hears what is sent to a virtual MAC, and the owner would forward it twice.
 */
const ROUND_MS = 5_000;
/** Frames at once; the rest follows with the next ticks. */
const FRAMES_PER_STEP = 256;

export class Announcer {
  readonly #context: EngineContext;
  readonly #egress: Egress;
  readonly #isPending = new Uint8Array(MAX_SLOTS);
  #pending = 0;
  #cursor = 0;
  #roundSlot = 0;
  readonly #roundAtMs = new Float64Array(1);

  constructor(context: EngineContext, egress: Egress) {
    this.#context = context;
    this.#egress = egress;
  }

  /** Some wait to be sent. */
  get isBusy(): boolean {
    return this.#pending > 0;
  }

  add(slot: number): void {
    if (this.#isPending[slot] === 1) return;
    this.#isPending[slot] = 1;
    this.#pending++;
  }

  /** Sends what waits, within bounds. */
  step(): void {
    const { view, ports } = this.#context;
    let left = FRAMES_PER_STEP;
    for (let i = 0; i < view.slots && this.#pending > 0 && left > 0; i++) {
      const slot = this.#cursor;
      if (this.#isPending[slot] === 1) {
        if (!this.#announce(slot)) return;
        left -= ports.length;
        this.#isPending[slot] = 0;
        this.#pending--;
      }
      this.#cursor = slot + 1 >= view.slots ? 0 : slot + 1;
    }
  }

  /** The round: one owned slot after the other, spread over ROUND_MS; as many as the time since the last tick is worth. */
  tick(): void {
    const { view, clock } = this.#context;
    const stepMs = ROUND_MS / view.slots;
    if (clock[0]! - this.#roundAtMs[0]! > ROUND_MS) this.#roundAtMs[0] = clock[0]!;
    while (clock[0]! >= this.#roundAtMs[0]!) {
      if (isExclusive(this.#context, this.#roundSlot)) this.add(this.#roundSlot);
      this.#roundSlot = this.#roundSlot + 1 >= view.slots ? 0 : this.#roundSlot + 1;
      this.#roundAtMs[0] = this.#roundAtMs[0]! + stepMs;
    }
    if (this.#pending > 0) this.step();
  }

  /** False when there was no free frame. */
  #announce(slot: number): boolean {
    const { frames, ports, counters } = this.#context;
    const bytes = frames.bytes;
    for (let port = 0; port < ports.length; port++) {
      const zone = ports[port]!.zone;
      if (zone < 0) continue;
      const at = frames.alloc();
      if (at < 0) return false;
      const packet = at + ETHERNET_BYTES;
      fillMac(bytes, at, 0xff);
      virtualMac(zone, slot, bytes, at + MAC_BYTES);
      setEtherType(bytes, at, ETHER_RARP);
      writeArp(bytes, packet, RARP_REQUEST, 0, 0);
      virtualMac(zone, slot, bytes, packet + ARP_SENDER_MAC);
      virtualMac(zone, slot, bytes, packet + ARP_TARGET_MAC);
      this.#egress.emit(port, at, padFrame(bytes, at, ETHERNET_BYTES + ARP_BYTES));
      count(counters, COUNT.announcements);
    }
    return true;
  }
}
