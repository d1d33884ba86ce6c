/**
 * A process that opens one port and waits to be killed. Arguments: driver, interface. Prints `ready` and its mode.
 */
import { openPorts } from "../../src/io/open.ts";

const [driver, interfaceName] = process.argv.slice(2) as ["xdp" | "cap", string];
const opened = openPorts(driver, [{ interfaceName, filter: { kind: "all" } }]);
opened.ports[0]?.onReadable(() => {});
process.stdout.write(`ready ${opened.reason}\n`);
setInterval(() => {}, 60_000);
