/**
 * Socket bytes: what the TCP connections that this process opened have carried in both directions, as their sockets count it: after
 * TLS, so with everything that protobuf, HTTP/2 and TLS add, and without the headers of TCP and IP.
 */
import { subscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";

interface Counted {
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
}

export class SocketBytes {
  readonly #handles = new Set<() => number>();

  /** Counts sockets that are made from now on. */
  constructor() {
    subscribe("net.client.socket", (message) => {
      const { socket } = message as { readonly socket: Socket };
      socket.once("connect", () => this.#count(socket));
    });
  }

  sum(): number {
    let sum = 0;
    for (const count of this.#handles) sum += count();
    return sum;
  }

  /** TLS and HTTP/2 read from the handle and write to it past the socket, so the handle is asked. */
  #count(socket: Socket): void {
    const { _handle: handle } = socket as unknown as { readonly _handle: Counted };
    let latest = 0;
    this.#handles.add(() => {
      // A closed handle counts nothing any more.
      latest = Math.max(latest, (handle.bytesRead ?? 0) + (handle.bytesWritten ?? 0));
      return latest;
    });
  }
}
