/**
 * Web server of a lab's host: says its name on port 80, so that a `curl` through the firewall shows whom it reached.
 * Runs as long as the lab stands. Argument: the host's name.
 */
import { createServer } from "node:http";

const PORT = 80;
const host = process.argv[2] ?? "nobody";

const server = createServer((request, response) => {
  const body = `This is ${host}; you are ${request.socket.remoteAddress ?? "unknown"}.\n`;
  response.writeHead(200, { "content-type": "text/plain", "content-length": Buffer.byteLength(body) });
  response.end(body);
});
server.listen(PORT, "0.0.0.0");
process.on("SIGTERM", () => process.exit(0));
