/**
 * NAT view: the use of pool addresses as operators see it. Owns which addresses are shown: those of the policy that holds, and older
 * ones until their last flow is gone.
 */
import { poolAddresses } from "../dataplane/nat-policy.ts";
import { type AddressUsage, readNatUsage } from "../dataplane/nat-usage.ts";
import type { PolicyModel } from "../dataplane/policy-model.ts";
import { formatAddress } from "../policy/address.ts";

export interface NatAddressView {
  readonly address: string;
  /** Flows and bindings that hold a port of it now, on this node: own and replicated. */
  readonly portsInUse: number;
  /** New flows that found no port of it, since the node started. */
  readonly refused: number;
  /** No pool of the present policy has it: its flows of older policies go on. */
  readonly isRetired: boolean;
}

export class NatView {
  readonly #usage: SharedArrayBuffer;
  /** Addresses of the pools of `#policy`, the last one that was asked about. */
  #pools: ReadonlySet<unknown> = new Set();
  #policy: PolicyModel | undefined;

  /** `usage`: what the worker counts in (nat-usage.ts). */
  constructor(usage: SharedArrayBuffer) {
    this.#usage = usage;
  }

  /** Addresses of the policy's pools. */
  poolCount(policy: PolicyModel): number {
    return this.#poolsOf(policy).size;
  }

  /** Addresses in the order in which policies named them. */
  list(policy: PolicyModel): NatAddressView[] {
    const pools = this.#poolsOf(policy);
    return readNatUsage(this.#usage)
      .map((usage) => viewOf(usage, !pools.has(usage.address)))
      .filter(({ isRetired, portsInUse }) => !isRetired || portsInUse > 0);
  }

  #poolsOf(policy: PolicyModel): ReadonlySet<unknown> {
    if (policy !== this.#policy) this.#pools = new Set(poolAddresses(policy));
    this.#policy = policy;
    return this.#pools;
  }
}

function viewOf({ address, inUse, refused }: AddressUsage, isRetired: boolean): NatAddressView {
  return { address: formatAddress(address), portsInUse: inUse, refused, isRetired };
}
