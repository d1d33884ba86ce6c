/**
 * Features: what a lab's hosts and policy ask of the engine beyond IPv4. One switch each, so that a lab stands on every build:
 * what is off is neither configured nor expected, and the checks of real clients report it as not there yet.
 */
export interface LabFeatures {
  /** Hosts have IPv6 addresses, zones have `gateway6` and `linkLocal`; IPv6 is routed plainly, IPv4 translated. */
  readonly ipv6: boolean;
  /** Rules turn on the helpers for FTP, TFTP and SIP. */
  readonly helpers: boolean;
  /** Fragments are carried. */
  readonly fragments: boolean;
  /** Half-open connections are limited: a flood cannot fill the flow table. */
  readonly defence: boolean;
}

export const LAB_FEATURES: LabFeatures = { ipv6: true, helpers: true, fragments: true, defence: true };
