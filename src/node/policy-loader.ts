/**
 * Policy loader: has a policy loaded by a thread of its own, so that neither packets nor the cluster wait for a large file. Owns that
 * thread, and that there is one at a time.
 */
import { Worker } from "node:worker_threads";
import { type ErrorCode, SynwallError } from "../base/errors.ts";
import type { LoadedPolicy } from "./loaded-policy.ts";
import type { FromLoader, LoaderSetup } from "./policy-loader-worker.ts";

let isLoading = false;

/**
 * Rejects with what loadPolicy() throws, and with SW_CONTROL_REFUSED while another one is being loaded: which of two was to hold in
 * the end, only their order would tell.
 */
export async function loadPolicyApart(path: string): Promise<LoadedPolicy> {
  if (isLoading) {
    throw new SynwallError(
      "SW_CONTROL_REFUSED",
      `Cannot apply the policy of ${path}: another one is being loaded; wait until it holds, then try again`,
    );
  }
  isLoading = true;
  try {
    return await load({ path });
  } finally {
    isLoading = false;
  }
}

function load(setup: LoaderSetup): Promise<LoadedPolicy> {
  const worker = new Worker(new URL("./policy-loader-worker.js", import.meta.url), {
    workerData: setup,
    name: "policy-loader",
  });
  return new Promise((resolve, reject) => {
    worker.on("message", (message: FromLoader) => {
      if (message.type === "loaded") resolve(message.policy);
      else reject(new SynwallError(message.code as ErrorCode, message.message));
    });
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`the policy loader ended with status ${code}`)));
  });
}
