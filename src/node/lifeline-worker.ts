/**
 * Lifeline worker: a thread that holds the lifelines and nothing else, with a descriptor table of its own and the highest
 * priority of the process: when the process is killed, its connections are the first that the kernel closes, before memory
 * and ports are taken down (see io/descriptors.ts).
 */
import { parentPort, workerData } from "node:worker_threads";
import { Lifelines } from "../../cluster/transport/lifeline.ts";
import type { RefusalReason } from "../../cluster/transport/refusals.ts";
import type { TlsMaterial } from "../../cluster/transport/tls.ts";
import type { TransportPeer } from "../../cluster/transport/transport.ts";
import { AssertionError } from "../base/assert.ts";
import { SynwallError } from "../base/errors.ts";
import { ownDescriptorTable } from "../io/descriptors.ts";
import { requestRealtime } from "../io/sched.ts";
import { PRIORITY } from "./priorities.ts";

export interface LifelineSetup {
  readonly self: TransportPeer;
  readonly peers: readonly TransportPeer[];
  readonly port: number;
  readonly tls: TlsMaterial;
  readonly founders: readonly number[];
  readonly realtime: "auto" | "never";
}

export type ToLifeline =
  | { readonly type: "peers"; readonly peers: readonly TransportPeer[] }
  | { readonly type: "tls"; readonly tls: TlsMaterial }
  | { readonly type: "stop" };

export type FromLifeline =
  | { readonly type: "started" }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  | { readonly type: "up" | "closed"; readonly node: number }
  | { readonly type: "refused"; readonly why: string; readonly reason: RefusalReason }
  | { readonly type: "warning"; readonly text: string };

async function run(): Promise<void> {
  if (parentPort === null) throw new AssertionError("the lifeline worker is a thread, not a program");
  const port = parentPort;
  const post = (message: FromLifeline): void => port.postMessage(message);
  const why = ownDescriptorTable();
  if (why !== undefined)
    post({ type: "warning", text: `lifelines close late when this process dies: ${why}` });
  const setup = workerData as LifelineSetup;
  if (setup.realtime === "auto") requestRealtime(PRIORITY.lifeline);
  const lifelines = new Lifelines({
    ...setup,
    tls: buffers(setup.tls),
    onUp: (node) => post({ type: "up", node }),
    onClosed: (node) => post({ type: "closed", node }),
    onRefused: (text, reason) => post({ type: "refused", why: text, reason }),
  });
  port.on("message", (message: ToLifeline) => {
    switch (message.type) {
      case "peers":
        lifelines.setPeers(message.peers);
        return;
      case "tls":
        lifelines.setTls(buffers(message.tls));
        return;
      case "stop":
        lifelines.close();
        port.close();
        return;
      default:
        message satisfies never;
    }
  });
  try {
    await lifelines.start();
    post({ type: "started" });
  } catch (error) {
    const code = error instanceof SynwallError ? error.code : "SW_PORT_TAKEN";
    post({ type: "failed", code, message: error instanceof Error ? error.message : String(error) });
    port.close();
  }
}

/** What a message carries of a Buffer is a plain array. */
function buffers({ ca, cert, key }: TlsMaterial): TlsMaterial {
  return { ca: Buffer.from(ca), cert: Buffer.from(cert), key: Buffer.from(key) };
}

await run();
