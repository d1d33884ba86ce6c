/**
 * Types of the package `cap`, which brings none: what cap-helper.ts uses of it.
 */
declare module "cap" {
  import type { EventEmitter } from "node:events";

  export class Cap extends EventEmitter {
    /** Answers the link type; throws libpcap's own words. Frames are copied into `buffer`, then "packet" is emitted. */
    open(device: string, filter: string, kernelBufferBytes: number, buffer: Buffer): string;
    send(buffer: Buffer, lengthBytes: number): void;
    close(): boolean;
  }
}
