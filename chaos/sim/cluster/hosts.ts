/**
 * Hosts of a simulated lab: client, web server and server, as in chaos/lab/topology.ts.
 */
import {
  clientAddresses,
  HOP_ADDRESS,
  INSIDE_GATEWAY,
  OUTSIDE_GATEWAY,
  SERVER_ADDRESS,
  WEB_ADDRESS,
} from "../../lab/topology.ts";
import type { SimCluster } from "./cluster.ts";
import { SimHost } from "./host.ts";

export interface SimHosts {
  readonly client: SimHost;
  readonly web: SimHost;
  readonly server: SimHost;
}

export function plugHosts({ clock, random, wires }: SimCluster): SimHosts {
  const make = (name: string, addresses: readonly string[], gateway: string): SimHost =>
    new SimHost({ name, addresses, gateway }, clock, random);
  const client = make("client", clientAddresses(), INSIDE_GATEWAY);
  const web = make("web", [WEB_ADDRESS], INSIDE_GATEWAY);
  const server = make("server", [SERVER_ADDRESS, HOP_ADDRESS], OUTSIDE_GATEWAY);
  wires.segments.inside.attach(client.nic.port);
  wires.segments.inside.attach(web.nic.port);
  wires.segments.outside.attach(server.nic.port);
  return { client, web, server };
}
