/**
 * UDP sink: sockets that swallow what the capture helper has read already. libpcap only copies frames, so the kernel
 * would answer each datagram to our ports with ICMP "port unreachable". The sockets are never read: full, they drop.
 */
import { AF_INET, bind, closeFd, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, setsockopt, socket } from "./libc.ts";

const SO_REUSEADDR = 2;
const SO_RCVBUF = 8;
const SO_BINDTODEVICE = 25;

/** Opens one socket a port, on that interface only. One that is taken already needs no sink. */
export function openUdpSink(interfaceName: string, udpPorts: readonly number[]): void {
  const device = Buffer.from(`${interfaceName}\0`, "latin1");
  const number = Buffer.alloc(128);
  for (const port of udpPorts) {
    const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
    number.writeUInt32LE(1, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, number, 4);
    number.writeUInt32LE(0, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, number, 4);
    // struct sockaddr_in: family, port (network order), address 0.0.0.0.
    const address = Buffer.alloc(128);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(port, 2);
    if (bind(fd, address, 16) !== 0) closeFd(fd);
  }
}
