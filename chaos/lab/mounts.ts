/**
 * Mounts of a lab: file systems that lie over its folders, found in the kernel's list and taken away before the folders are.
 */
import { readFileSync } from "node:fs";
import { run } from "./run.ts";

/** Where something is mounted, `directory` itself included. */
export function mountsUnder(directory: string): string[] {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[1] ?? []);
  return points.filter((point) => point === directory || point.startsWith(`${directory}/`));
}

/** Takes away whatever is mounted there. */
export async function unmountAll(directory: string): Promise<void> {
  for (const mount of mountsUnder(directory)) await run("umount", ["--lazy", mount], { mayFail: true });
}
