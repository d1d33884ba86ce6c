/**
 * Opening ports: chooses the driver and says why. Owns no driver (xdp/, cap.ts, memory.ts).
 *
 * How a worker uses the ports:
 *
 *   for (const port of opened.ports) port.onReadable(breathe);       // and a tick every few milliseconds: breathe()
 *   breathe = () => {
 *     for each port:  n = port.receive(batch, 64); for each frame: engine -> send(), alloc() + send(), or free()
 *     for each port:  port.flush()                                   // every port: it also collects and refills
 *   }
 *
 * Wake-ups are level-triggered: what was left over wakes again, so a breath may be bounded.
 */
import { SynwallError } from "../base/errors.ts";
import { openCapPorts } from "./cap.ts";
import type { OpenedPorts, PortOptions } from "./port.ts";
import { interfacesOf, logicalPorts } from "./vlan.ts";
import { CardError } from "./xdp/errors.ts";
import { openXdpPorts } from "./xdp/open.ts";

/**
 * Opens all ports on one pool, or throws and leaves nothing behind. An interface with several VLANs is opened once. `auto`: xdp,
 * else cap; but a card that xdp refuses for how it is set up stays refused: cap would carry a quarter of the packets, and one
 * command mends it.
 */
export function openPorts(driver: "auto" | "xdp" | "cap", ports: readonly PortOptions[]): OpenedPorts {
  return logicalPorts(openInterfaces(driver, interfacesOf(ports)), ports);
}

function openInterfaces(driver: "auto" | "xdp" | "cap", ports: readonly PortOptions[]): OpenedPorts {
  switch (driver) {
    case "xdp":
      return openXdpPorts(ports);
    case "cap":
      return openCapPorts(ports);
    case "auto":
      return openBest(ports);
    default:
      return driver satisfies never;
  }
}

function openBest(ports: readonly PortOptions[]): OpenedPorts {
  try {
    return openXdpPorts(ports);
  } catch (xdpError) {
    if (!(xdpError instanceof SynwallError) || xdpError instanceof CardError) throw xdpError;
    const opened = openCapPorts(ports);
    return { ...opened, reason: `cap, because xdp was refused: ${xdpError.message}` };
  }
}
