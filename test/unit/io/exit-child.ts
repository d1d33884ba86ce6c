/**
 * A process with a thread in a system call that never returns. Ends as it is told; prints a line when the thread hangs.
 */
import { Worker } from "node:worker_threads";
import { exitAtOnce } from "../../../src/io/exit.ts";

const hanging = new SharedArrayBuffer(4);
const library = import.meta.resolve("koffi");
const source = `
  const { workerData } = require("node:worker_threads");
  import(workerData.library).then(({ default: koffi }) => {
    const poll = koffi.load(null).func("int poll(void *fds, unsigned long count, int timeoutMs)");
    const state = new Int32Array(workerData.hanging);
    Atomics.store(state, 0, 1);
    Atomics.notify(state, 0);
    poll(null, 0, -1);
  });
`;
new Worker(source, { eval: true, workerData: { hanging, library } });
Atomics.wait(new Int32Array(hanging), 0, 0);
if (process.argv[2] === "at-once") exitAtOnce(71);
process.exit(71);
