/** Echo: the receiving process of the bench. Acknowledges every batch; tells its CPU time when it is asked. */
import { loadTls, type TlsFiles } from "../../cluster/transport/tls.ts";
import { beControlThread, mainThreadCpuSeconds } from "../main-thread.ts";
import { serve, type Way } from "./ways.ts";

export interface EchoStart {
  readonly way: Way;
  readonly tls: TlsFiles;
}

export interface EchoAnswer {
  readonly port: number;
  readonly cpuSeconds: number;
}

beControlThread();
let port = 0;
process.on("disconnect", () => process.exit(0));
process.on("message", async (message: EchoStart | "cpu") => {
  if (message !== "cpu") port = await serve(message.way, loadTls(message.tls, "fw2"));
  process.send!({ port, cpuSeconds: mainThreadCpuSeconds() } satisfies EchoAnswer);
});
