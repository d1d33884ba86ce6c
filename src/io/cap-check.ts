/**
 * Cap check: whether packets can be captured on this machine at all, before anybody builds something that needs it.
 */

/** Why libpcap or its package cannot be used, in a few words; empty when it can. Needs no rights. */
export async function whyNoCap(): Promise<string> {
  try {
    await import("cap");
    return "";
  } catch {
    return "libpcap or the package cap is missing";
  }
}
