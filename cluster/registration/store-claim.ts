/**
 * Store claim: what a new machine says of the store of the site that it would keep the log in, so that one of another store is
 * turned away while its token is unused and nothing is written. Owns the comparison. Endpoints are not compared: members may reach
 * one store in several ways, and by the same words (this machine's own) two of them; the log in it tells.
 */

export interface StoreClaim {
  readonly prefix: string;
  /** Name of the log that this machine found there; empty: none. */
  readonly log: string;
}

/** The same of the cluster. */
export interface ClusterStore extends StoreClaim {
  /** Where this member reaches it; told only to whoever proved a token. */
  readonly place: string;
}

/** Which field of the new machine differs, and what to set it to; undefined: it is the same store. */
export function whyOtherStore(cluster: ClusterStore, claim: StoreClaim | undefined): string | undefined {
  if (claim === undefined) {
    return "control.store: the cluster has etcd, and this machine's build says nothing of a store: install the build that the cluster runs; the token is still unused";
  }
  if (claim.prefix !== cluster.prefix) {
    return `control.etcd.prefix: the cluster has ${cluster.prefix}, the configuration has ${claim.prefix}: set it to ${cluster.prefix}; the token is still unused`;
  }
  if (claim.log === cluster.log) return undefined;
  const found = claim.log === "" ? "no log" : "another log";
  return `control.etcd.endpoints: the cluster has its log at ${cluster.place}, and there is ${found} where the configuration looks: set them to endpoints of the same etcd; the token is still unused`;
}
