import { afterAll } from "vitest";
import { GrpcTransport } from "../../cluster/transport/grpc.ts";
import { loadTls } from "../../cluster/transport/tls.ts";
import { CertificateFolder } from "../unit/cluster/transport/certificates.ts";
import { freePort } from "../unit/cluster/transport/free-port.ts";
import { until } from "../unit/cluster/transport/until.ts";
import { transportConformance } from "./transport-suite.ts";

const folder = new CertificateFolder();
afterAll(() => folder.remove());

const MEMBERS = [1, 2, 3].map((id) => ({ id, name: `fw${id}`, address: `127.0.0.${id}` }));

transportConformance("gRPC transport", async () => {
  const port = await freePort();
  const running = new Map<number, GrpcTransport>();
  return {
    make(id) {
      const self = MEMBERS.find((member) => member.id === id)!;
      const transport = new GrpcTransport({
        self,
        peers: MEMBERS.filter((member) => member !== self),
        port,
        tls: loadTls(folder.member(self.name), self.name),
      });
      running.set(id, transport);
      return transport;
    },
    async kill(id) {
      await running.get(id)?.close();
      running.delete(id);
    },
    until,
    async close() {
      for (const transport of running.values()) await transport.close();
    },
  };
});
