/** A process that holds its lifelines until it is killed; see lifeline.test.ts. */
import { Lifelines } from "../../../../cluster/transport/lifeline.ts";
import { loadTls } from "../../../../cluster/transport/tls.ts";

const { port, files, self, peers } = JSON.parse(process.env["LIFELINE"] ?? "{}");
const lifelines = new Lifelines({ self, peers, port, tls: loadTls(files, self.name), onClosed: () => {} });
await lifelines.start();
process.send?.("listening");
