/**
 * Errors of opening: a failed system call, and what it means for the operator who has one line to read.
 */
import { SynwallError } from "../../base/errors.ts";
import { describeErrno } from "../libc.ts";

const EPERM = 1;
const ENOMEM = 12;
const EACCES = 13;
const EBUSY = 16;
const EEXIST = 17;
const EAFNOSUPPORT = 97;
const ENOBUFS = 105;

/** A system call failed; internal to this folder: openXdpPorts() turns it into a SynwallError. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly action: string;
  readonly errno: number;
  readonly log: string;

  constructor(action: string, number: number, log = "") {
    super(`${action} failed with ${describeErrno(number)}`);
    this.action = action;
    this.errno = number;
    this.log = log;
  }
}

/** A card must be set up otherwise for xdp: no driver is to stand in for it, since one command mends it. */
export class CardError extends SynwallError {
  constructor(interfaceName: string, why: string, fix: string) {
    super("SW_IO_INTERFACE", `Cannot open ${interfaceName} with xdp: ${why}: ${fix}`, {
      interface: interfaceName,
    });
  }
}

/** What to tell about a failure on the way to an open port. */
export function explain(interfaceName: string, error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  const details = { interface: interfaceName, action: error.action, errno: error.errno, log: error.log };
  const cannot = `Cannot open ${interfaceName} with xdp: ${error.message}`;
  switch (error.errno) {
    case EPERM:
    case EACCES:
      return new SynwallError(
        "SW_IO_RIGHTS",
        `${cannot}: run as root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF), or use the driver cap`,
        details,
        error,
      );
    case EAFNOSUPPORT:
      return new SynwallError(
        "SW_IO_RIGHTS",
        `${cannot}: this kernel has no AF_XDP (it needs 5.10 and CONFIG_XDP_SOCKETS); use the driver cap`,
        details,
        error,
      );
    case ENOMEM:
    case ENOBUFS:
      return new SynwallError(
        "SW_IO_RIGHTS",
        `${cannot}: allow more locked memory (ulimit -l unlimited), or use the driver cap`,
        details,
        error,
      );
    case EBUSY:
    case EEXIST:
      return new SynwallError(
        "SW_IO_INTERFACE",
        `${cannot}: another XDP program or socket holds it: end its process, or ip link set dev ${interfaceName} xdp off`,
        details,
        error,
      );
    default:
      return new SynwallError("SW_IO_INTERFACE", cannot, details, error);
  }
}
