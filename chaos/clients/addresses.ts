/**
 * Addresses of the client checks by family, and the client's own: which of them a node owns, and which one the system uses.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { Lab } from "../lab/lab.ts";
import { run } from "../lab/run.ts";
import {
  clientAddresses,
  clientAddresses6,
  FAR_ADDRESS,
  FAR_ADDRESS6,
  FAR_OTHER_ADDRESS,
  FAR_OTHER_ADDRESS6,
  HOP_ADDRESS,
  HOP_ADDRESS6,
  INSIDE_GATEWAY,
  INSIDE6,
  LINK_LOCAL_GATEWAY,
  NAT_POOL,
  namespaceOf,
  SERVER_ADDRESS,
  SERVER_ADDRESS6,
  WEB_ADDRESS,
  WEB_ADDRESS6,
} from "../lab/topology.ts";
import type { Addresses, Family } from "./model.ts";

export function addressesOf(family: Family): Addresses & { readonly inside: string } {
  if (family === 4) {
    return {
      source: clientAddresses()[0]!,
      server: SERVER_ADDRESS,
      hop: HOP_ADDRESS,
      far: FAR_ADDRESS,
      farOther: FAR_OTHER_ADDRESS,
      inside: WEB_ADDRESS,
      gateways: [INSIDE_GATEWAY],
      insideUrl: `http://${NAT_POOL[0]}:8080`,
      seenAs: NAT_POOL,
    };
  }
  return {
    source: clientAddresses6()[0]!,
    server: SERVER_ADDRESS6,
    hop: HOP_ADDRESS6,
    far: FAR_ADDRESS6,
    farOther: FAR_OTHER_ADDRESS6,
    inside: WEB_ADDRESS6,
    gateways: [`${INSIDE6}1`, LINK_LOCAL_GATEWAY],
    insideUrl: `http://[${WEB_ADDRESS6}]`,
    seenAs: clientAddresses6(),
  };
}

/** The node that owns the flows of an inside address. */
export async function ownerOf(lab: Lab, address: string): Promise<string> {
  return (await locate(lab, address)).owner;
}

/** A client address that `node` owns. */
export async function chooseSource(lab: Lab, family: Family, node: string): Promise<string> {
  for (const address of family === 4 ? clientAddresses() : clientAddresses6()) {
    if ((await locate(lab, address)).owner === node) return address;
  }
  throw new SynwallError("SW_LAB_FAILED", `${node} owns no IPv${family} address of the client`);
}

/** Makes the client speak from `address`; undefined: from whichever the system chooses. */
export async function useSource(lab: Lab, family: Family, address: string | undefined): Promise<void> {
  const via = family === 4 ? INSIDE_GATEWAY : LINK_LOCAL_GATEWAY;
  await run("ip", [
    ...["-n", namespaceOf(lab.state.options.name, "client"), `-${family}`],
    ...["route", "replace", "default", "via", via, "dev", "eth0"],
    ...(address === undefined ? [] : ["src", address]),
  ]);
}

async function locate(lab: Lab, address: string) {
  const { ask } = lab.context;
  const node = lab.state.topology.members.find(({ role }) => role === "node")!;
  return ask(lab.paths.socket(node.name), "locate", { address });
}
