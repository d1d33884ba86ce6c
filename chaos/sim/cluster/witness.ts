/**
 * Simulated witness: the real WitnessCore with a network card instead of a UDP socket.
 */

import { findDatagram, HEARTBEAT_BYTES_MAX, writeClusterFrame } from "../../../src/node/heartbeat-frames.ts";
import { witnessHandlers } from "../../../src/node/witness-admin.ts";
import { WitnessCore } from "../../../src/node/witness-core.ts";
import { parseIpv4 } from "../../../src/policy/address.ts";
import { cheapMac } from "./cheap-mac.ts";
import type { Boot, Running } from "./member.ts";
import { Nic } from "./nic.ts";

/** From a frame's arrival to the process that reads its socket. */
const WAKE_MS = 0.03;
const HEADER_BYTES = 42;
const BROADCAST = new Uint8Array(6).fill(0xff);

export function bootWitness(boot: Boot): Running {
  const { world, config, life, transport, journal } = boot;
  const { self, members } = config.cluster;
  const addresses = new Map(members.map((member) => [member.id, parseIpv4(member.address)!]));
  /** By node id, as heard. */
  const macs = new Map<number, Uint8Array>();
  const out = new Uint8Array(HEADER_BYTES + HEARTBEAT_BYTES_MAX);
  const span = { at: 0, lengthBytes: 0, ttl: 0 };
  const core: WitnessCore = new WitnessCore({
    ...boot,
    timers: life,
    ...(world.sizes.hasCheapMac ? { mac: cheapMac(0) } : {}),
    sendHeartbeat: (node, datagram) => {
      const mac = macs.get(node) ?? BROADCAST;
      const [from, to] = [addresses.get(self.id)!, addresses.get(node)!];
      const lengthBytes = writeClusterFrame(out, 0, mac, nic.mac, from, to, datagram);
      nic.send(out.subarray(0, lengthBytes));
    },
  });
  const nic = new Nic(`${self.name}-cluster`, (arrived) => {
    const frame = arrived.slice();
    life.after(WAKE_MS, () => {
      if (!findDatagram(frame, 0, frame.length, true, span)) return;
      const from = core.receiveHeartbeat(frame.subarray(span.at, span.at + span.lengthBytes));
      if (from !== 0) macs.set(from, frame.slice(6, 12));
    });
  });
  boot.plug("cluster", nic.port);
  core.startHeartbeats();
  void transport.start(core.handlers());
  core.start();
  journal.add("started", `witness ${self.name} started`);
  return {
    controller: core.controller,
    processes: core.processes,
    storage: boot.storage,
    admin: witnessHandlers(core),
    lifelineOpened: () => undefined,
    lifelineClosed: () => undefined,
  };
}
