/**
 * VLAN ports: one interface opened once, and shared by several logical ports: one for each 802.1Q tag (IEEE 802.1Q-2022 clause
 * 9.6) that the configuration names, and one for frames without a tag when it names that. Owns the tag: it is taken off before
 * anybody else sees a frame, and put on before one leaves (priority 0). Does not own the interface (xdp/, cap.ts, memory.ts).
 *
 *   on the wire:  | dst 6 | src 6 | 0x8100 | tag 2 | type ...     handed on:  | room 4 | dst 6 | src 6 | type ...
 *
 *   wire --> Port --receive--> Trunk --by tag--> queue of VlanPort --receive--> engine
 *                                 '-- a tag that nobody has: dropped, counted (rxUnknownVlan)
 *
 * The addresses move by four bytes, the rest of the frame stays where it is. A tag of VLAN 0 only carries a priority: the frame
 * counts as untagged. What the interface itself lost is counted on the first of its logical ports, since nobody knows whose it was.
 */
import { assert } from "../base/assert.ts";
import { u16 } from "../packet/bytes.ts";
import type { FramePool, OpenedPorts, Port, PortCounters, PortOptions, RxBatch } from "./port.ts";

const ETHER_VLAN = 0x8100;
const ADDRESSES_BYTES = 12;
const TAG_BYTES = 4;
/** Ethernet header with a tag. */
const TAGGED_BYTES = 18;
const VLAN_MASK = 0xfff;
const VLANS = 4096;
/** Frames of one logical port that its siblings fetched with their own. */
const QUEUE_FRAMES = 1024;
const BATCH_FRAMES = 64;
const UNTAGGED = 0;
const NOBODY = -1;

/** The interfaces to open, each once, in the order in which they first appear. */
export function interfacesOf(ports: readonly PortOptions[]): PortOptions[] {
  const wanted = new Map<string, PortOptions>();
  for (const { interfaceName, filter, vlan } of ports) {
    const known = wanted.get(interfaceName);
    assert(
      known === undefined || filter.kind === "all",
      `${interfaceName} is shared, but not by zones alone`,
    );
    const hasTags = vlan !== undefined || known?.hasTags === true;
    wanted.set(interfaceName, { interfaceName, filter, ...(hasTags ? { hasTags } : {}) });
  }
  return [...wanted.values()];
}

/** The ports that were asked for, over the interfaces that interfacesOf() named. `defer`: see MemoryPortOptions. */
export function logicalPorts(
  opened: OpenedPorts,
  asked: readonly PortOptions[],
  defer: (task: () => void) => void = setImmediate,
): OpenedPorts {
  const interfaces = interfacesOf(asked);
  const trunks = new Map<string, Trunk>();
  interfaces.forEach(({ interfaceName, hasTags }, i) => {
    if (hasTags === true) trunks.set(interfaceName, new Trunk(opened.ports[i]!, defer));
  });
  const ports = asked.map(({ interfaceName, vlan, label }) => {
    const trunk = trunks.get(interfaceName);
    if (trunk !== undefined) return new VlanPort(trunk, label ?? interfaceName, vlan ?? UNTAGGED);
    return opened.ports[interfaces.findIndex((one) => one.interfaceName === interfaceName)]!;
  });
  return { ...opened, ports };
}

/** An interface and who shares it. */
class Trunk {
  readonly port: Port;
  readonly members: VlanPort[] = [];
  readonly #defer: (task: () => void) => void;
  /** By VLAN id, 0 for untagged: index of the member. */
  readonly #memberOf = new Int16Array(VLANS).fill(NOBODY);
  readonly #batch: RxBatch = {
    at: new Uint32Array(BATCH_FRAMES),
    lengthBytes: new Uint32Array(BATCH_FRAMES),
  };
  #open = 0;
  #isWatched = false;
  #isWakeDue = false;
  /** Frames that the interface refused to send, counted by the member that sent them. */
  refused = 0;
  unknownVlan = 0;

  constructor(port: Port, defer: (task: () => void) => void) {
    this.port = port;
    this.#defer = defer;
  }

  join(member: VlanPort, vlan: number): void {
    assert(this.#memberOf[vlan] === NOBODY, `${member.name} is there twice`);
    this.#memberOf[vlan] = this.members.length;
    this.members.push(member);
    this.#open++;
  }

  leave(member: VlanPort): void {
    this.#memberOf[member.vlan] = NOBODY;
    if (--this.#open === 0) this.port.close();
  }

  /** Fetches at most `max` frames from the interface and hands each to its member's queue. */
  fetch(max: number): void {
    const batch = this.#batch;
    const count = this.port.receive(batch, Math.min(max, BATCH_FRAMES));
    for (let i = 0; i < count; i++) this.#sort(batch.at[i]!, batch.lengthBytes[i]!);
    if (count > 0) this.#wakeLater();
  }

  #sort(at: number, lengthBytes: number): void {
    const { pool } = this.port;
    const { bytes, view } = pool;
    let vlan = UNTAGGED;
    let frameAt = at;
    let frameBytes = lengthBytes;
    if (lengthBytes > ADDRESSES_BYTES + 1 && u16(bytes, at + ADDRESSES_BYTES) === ETHER_VLAN) {
      // Too short for a tag: it belongs to nobody, as does a VLAN that is not configured.
      vlan = lengthBytes < TAGGED_BYTES ? VLAN_MASK : u16(bytes, at + ADDRESSES_BYTES + 2) & VLAN_MASK;
      moveAddresses(view, at, at + TAG_BYTES);
      frameAt += TAG_BYTES;
      frameBytes -= TAG_BYTES;
    }
    const index = this.#memberOf[vlan]!;
    if (index === NOBODY) {
      this.unknownVlan++;
      pool.free(at);
    } else {
      this.members[index]!.push(frameAt, frameBytes);
    }
  }

  /** Who was handed a frame while another fetched does not learn of it from the interface. */
  #wakeLater(): void {
    if (this.#isWakeDue || !this.#isWatched || !this.#isWaiting()) return;
    this.#isWakeDue = true;
    this.#defer(this.#onDue);
  }

  #isWaiting(): boolean {
    for (let i = 0; i < this.members.length; i++) if (this.members[i]!.isWaiting()) return true;
    return false;
  }

  watch(): void {
    this.#isWatched = true;
    this.port.onReadable(this.#onReadable);
    this.#wakeLater();
  }

  /** Anybody's frame may be next, so everybody looks; once, where all have the same way of looking. */
  readonly #onReadable = (): void => {
    let last: (() => void) | undefined;
    for (let i = 0; i < this.members.length; i++) {
      const { wake } = this.members[i]!;
      if (wake !== undefined && wake !== last) wake();
      last = wake ?? last;
    }
  };

  readonly #onDue = (): void => {
    this.#isWakeDue = false;
    if (!this.#isWaiting()) return;
    this.#onReadable();
    this.#wakeLater();
  };
}

class VlanCounters implements PortCounters {
  rxFrames = 0;
  rxBytes = 0;
  txFrames = 0;
  txBytes = 0;
  ownRxDropped = 0;
  ownTxDropped = 0;
  readonly #trunk: Trunk;
  readonly #isFirst: boolean;

  constructor(trunk: Trunk, isFirst: boolean) {
    this.#trunk = trunk;
    this.#isFirst = isFirst;
  }

  get rxDropped(): number {
    return this.ownRxDropped + (this.#isFirst ? this.#trunk.port.counters.rxDropped : 0);
  }

  get txDropped(): number {
    const { port, refused } = this.#trunk;
    return this.ownTxDropped + (this.#isFirst ? port.counters.txDropped - refused : 0);
  }

  get rxUnknownVlan(): number {
    return this.#isFirst ? this.#trunk.unknownVlan : 0;
  }
}

class VlanPort implements Port {
  readonly driver: Port["driver"];
  readonly mode: string;
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly pool: FramePool;
  readonly counters: PortCounters;
  /** Its tag; 0: none. */
  readonly vlan: number;
  wake: (() => void) | undefined;
  readonly #trunk: Trunk;
  readonly #counters: VlanCounters;
  /** A ring: frames without their tag, oldest at #head. */
  readonly #at = new Uint32Array(QUEUE_FRAMES);
  readonly #lengthBytes = new Uint32Array(QUEUE_FRAMES);
  #head = 0;
  #waiting = 0;
  #isClosed = false;

  constructor(trunk: Trunk, name: string, vlan: number) {
    const { port } = trunk;
    this.driver = port.driver;
    this.mode = port.mode;
    this.mac = port.mac;
    this.mtuBytes = port.mtuBytes;
    this.pool = port.pool;
    this.name = name;
    this.vlan = vlan;
    this.#trunk = trunk;
    this.#counters = new VlanCounters(trunk, trunk.members.length === 0);
    this.counters = this.#counters;
    trunk.join(this, vlan);
  }

  receive(batch: RxBatch, max: number): number {
    if (this.#isClosed) return 0;
    const limit = Math.min(max, batch.at.length);
    if (this.#waiting < limit) this.#trunk.fetch(limit - this.#waiting);
    const count = Math.min(limit, this.#waiting);
    const counters = this.#counters;
    for (let i = 0; i < count; i++) {
      const lengthBytes = this.#lengthBytes[this.#head]!;
      batch.at[i] = this.#at[this.#head]!;
      batch.lengthBytes[i] = lengthBytes;
      counters.rxBytes += lengthBytes;
      this.#head = (this.#head + 1) % QUEUE_FRAMES;
    }
    this.#waiting -= count;
    counters.rxFrames += count;
    return count;
  }

  /** For the trunk: a frame of this port, its tag taken off. */
  push(at: number, lengthBytes: number): void {
    if (this.#waiting === QUEUE_FRAMES) {
      this.pool.free(at);
      this.#counters.ownRxDropped++;
      return;
    }
    const tail = (this.#head + this.#waiting) % QUEUE_FRAMES;
    this.#at[tail] = at;
    this.#lengthBytes[tail] = lengthBytes;
    this.#waiting++;
  }

  isWaiting(): boolean {
    return this.#waiting > 0 && this.wake !== undefined;
  }

  send(at: number, lengthBytes: number): boolean {
    const hasTag = this.vlan !== UNTAGGED;
    if (this.#isClosed || (hasTag && at % this.pool.chunkBytes < TAG_BYTES)) {
      this.pool.free(at);
      this.#counters.ownTxDropped++;
      return false;
    }
    if (hasTag) this.#tag(at);
    const isTaken = hasTag
      ? this.#trunk.port.send(at - TAG_BYTES, lengthBytes + TAG_BYTES)
      : this.#trunk.port.send(at, lengthBytes);
    if (!isTaken) {
      this.#trunk.refused++;
      this.#counters.ownTxDropped++;
      return false;
    }
    this.#counters.txFrames++;
    this.#counters.txBytes += lengthBytes;
    return true;
  }

  /** Puts the tag on, into the room before the frame. */
  #tag(at: number): void {
    const { view } = this.pool;
    moveAddresses(view, at, at - TAG_BYTES);
    view.setUint32(at - TAG_BYTES + ADDRESSES_BYTES, ETHER_VLAN * 0x10000 + this.vlan);
  }

  flush(): void {
    if (!this.#isClosed) this.#trunk.port.flush();
  }

  onReadable(wake: () => void): void {
    if (this.#isClosed) return;
    this.wake = wake;
    this.#trunk.watch();
  }

  mtuNow(): number {
    return this.#trunk.port.mtuNow();
  }

  carrier(): boolean {
    return !this.#isClosed && this.#trunk.port.carrier();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.wake = undefined;
    for (; this.#waiting > 0; this.#waiting--) {
      this.pool.free(this.#at[this.#head]!);
      this.#head = (this.#head + 1) % QUEUE_FRAMES;
    }
    this.#trunk.leave(this);
  }
}

/** Twelve bytes to a place four bytes away: read whole before they are written, since the places overlap. */
function moveAddresses(view: DataView, from: number, to: number): void {
  const first = view.getInt32(from);
  const second = view.getInt32(from + 4);
  const third = view.getInt32(from + 8);
  view.setInt32(to, first);
  view.setInt32(to + 4, second);
  view.setInt32(to + 8, third);
}
