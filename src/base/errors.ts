/**
 * Expected failures: errors with a stable code, which an operator can look up in docs/errors.md.
 * Does not own verdicts (numbers, dataplane) or bugs (assert.ts).
 */

/** Every code that Synwall raises, with what it means. docs/errors.md is checked against this list. */
export const ERROR_CODES = {
  SW_CONFIG_INVALID: "The configuration file has a mistake; the message names the field and the fix.",
  SW_CONFIG_UNREADABLE: "A file that the configuration needs cannot be read.",
  SW_TLS_INVALID: "A certificate or key is missing, unreadable or does not fit the configuration.",
  SW_PORT_TAKEN: "Another process already listens on an address that the node needs.",
  SW_IO_RIGHTS: "The process may not open the interface in the wanted way.",
  SW_IO_INTERFACE: "An interface is missing, down or does not fit (MTU, offloads).",
  SW_STORAGE_CORRUPT: "The Raft log or a snapshot on disk is damaged beyond a torn tail.",
  SW_STORAGE_LOST: "The Raft log of this member was emptied: it has forgotten its votes.",
  SW_STORE_EMPTY: "The store of the site (control.store) holds no cluster of this name yet.",
  SW_STORE_LOST: "The store of the site holds another log than this member knows, or an older one.",
  SW_STORE_UNREACHABLE: "The store of the site does not answer, or refuses.",
  SW_CLUSTER_DIFFERS:
    "The configuration has other members, slots or another control.store than the cluster was begun with.",
  SW_MEMBER_REMOVED: "This member was removed from the cluster; its id is never used again.",
  SW_REGISTRATION_FAILED:
    "A machine could not join, or a member got no new certificate; the message says why.",
  SW_STORAGE_FAILED: "The disk refused a write or a sync, or has too little room; the process must end.",
  SW_DATAPLANE_HUNG: "The dataplane worker did not turn its loop any more; the process ended itself.",
  SW_CONTROL_REFUSED: "The cluster refused a command in its present state.",
  SW_CONTROL_TIMEOUT: "The cluster did not decide in time; nothing is known to have changed.",
  SW_UPGRADE_STOPPED: "A rolling upgrade stopped at the first thing that was wrong; the cluster serves on.",
  SW_ADMIN_UNREACHABLE: "No node answers on the admin socket.",
  SW_ADMIN_BAD_REQUEST: "The admin request has a mistake; the message names it.",
  SW_CAPTURE_INVALID: "A capture file cannot be read or written, is no pcap or pcapng, or ends too early.",
  SW_TRACE_INVALID: "A trace or replay was asked for with a value that does not fit; the message names it.",
  SW_LAB_EXISTS: "A lab of that name is standing already.",
  SW_LAB_MISSING: "No lab of that name is standing.",
  SW_LAB_FAILED: "A step of the lab failed; the lab was taken down again.",
  SW_DRILL_FAILED: "A drill could not be carried out (not: its verdict was bad).",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An expected failure: callers branch on `code`, operators read `message` (one line). */
export class SynwallError extends Error {
  override readonly name = "SynwallError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}
