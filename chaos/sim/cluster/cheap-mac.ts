/**
 * Cheap MAC: a checksum in the place of the heartbeats' HMAC, for simulations in which nobody forges. It notices damage, and
 * costs a tenth.
 */
import type { Mac } from "../../../cluster/liveness/envelope.ts";

const PRIME = 0x01000193;

export function cheapMac(key: number): Mac {
  return (bytes) => {
    let low = 0x811c9dc5 ^ key;
    let high = 0x5bd1e995 ^ key;
    for (let i = 0; i < bytes.length; i++) {
      low = Math.imul(low ^ bytes[i]!, PRIME);
      high = Math.imul(high + bytes[i]!, 0x85ebca6b) ^ (high >>> 13);
    }
    return new Uint8Array(Uint32Array.of(low, high, low, high, low, high, low, high).buffer);
  };
}
