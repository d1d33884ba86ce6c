/**
 * Waiting: polls a condition until it holds or the time is up. Owns the only timer of the lab.
 */
const POLL_INTERVAL_MS = 20;

export interface PollOptions {
  readonly abort?: AbortSignal | undefined;
  readonly intervalMs?: number;
}

/** True as soon as `condition` holds; false when it does not within `timeoutMs`. */
export async function poll(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  { abort, intervalMs = POLL_INTERVAL_MS }: PollOptions = {},
): Promise<boolean> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= endMs) return false;
    await pause(intervalMs, abort);
  }
}

/** Rejects with the signal's reason when it is aborted. */
export function pause(ms: number, abort?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (abort?.aborted) return reject(abort.reason);
    const timer = setTimeout(() => {
      abort?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    const stop = (): void => {
      clearTimeout(timer);
      reject(abort?.reason);
    };
    abort?.addEventListener("abort", stop, { once: true });
  });
}
