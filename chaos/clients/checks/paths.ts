/**
 * Paths: discovery of a path's MTU in both directions, and traceroute with its three kinds of probes.
 */
import { isIP } from "node:net";
import { type Check, CheckFailure, lastWords, type Place } from "../model.ts";
import { stream } from "./streams.ts";
import { expectMatch, megabytes, throughFault } from "./through.ts";

/** Too large for the hop, small enough for the client's own wire. */
const TOO_BIG_PAYLOAD = "1400";
const PROBED_PORT = "443";
/** A probe may fall into the very moment of the fault; a path that stays broken may not. */
const TRACES_MAX = 3;

export const PATH_CHECKS: readonly Check[] = [
  { name: "mtu-report", what: "the router's `too big` reaches the client inside", run: mtuReport },
  { name: "mtu-out", what: "TCP from inside learns the path's MTU", run: mtuOut },
  { name: "mtu-in", what: "the web host inside learns the MTU towards a visitor outside", run: mtuIn },
  ...(["icmp", "udp", "tcp"] as const).map((kind) => ({
    name: `traceroute-${kind}`,
    what: `traceroute with ${kind.toUpperCase()} probes, every hop named`,
    run: (place: Place) => traceroute(place, kind),
  })),
];

async function mtuReport(place: Place): Promise<string> {
  const ask = async (): Promise<string> => {
    await forgetMtu(place, "client");
    const command = ["ping", `-${place.family}`, "-n", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do"];
    const outcome = await place.run("client", [...command, "-s", TOO_BIG_PAYLOAD, place.at.farOther]);
    const [, from] = expectMatch(outcome.out, /From (\S+)[^\n]*mtu ?= ?1280/, "no `too big` came back");
    return from!.replace(/:$/, "");
  };
  await ask();
  await place.struck();
  return `told by ${await ask()}`;
}

async function mtuOut(place: Place): Promise<string> {
  await forgetMtu(place, "client");
  const line = await stream(place, { host: "far", protocol: "tcp", isReverse: false });
  await expectLearnt(place, "client");
  return `${line}, MTU 1280 learnt`;
}

async function mtuIn(place: Place): Promise<string> {
  const { at, blob, bytesPerSecond } = place;
  await forgetMtu(place, "web");
  const command = ["curl", "-sS", "--connect-timeout", "8", "--interface", at.far];
  const url = `${at.insideUrl}/bytes/${blob.bytes}/${bytesPerSecond}`;
  const download = place.start("far", [...command, "-o", "/dev/null", "-w", "%{size_download}", url]);
  const outcome = await throughFault(place, download);
  if (outcome.out !== String(blob.bytes)) {
    throw new CheckFailure(`${outcome.out || 0} of ${blob.bytes} bytes: ${lastWords(outcome)}`);
  }
  await expectLearnt(place, "web");
  return `${megabytes(blob.bytes)}, MTU 1280 learnt`;
}

async function forgetMtu({ family, run }: Place, host: string): Promise<void> {
  await run(host, ["ip", `-${family}`, "route", "flush", "cache"]);
}

/** Or the transfer went well for another reason. */
async function expectLearnt({ family, at, run }: Place, host: string): Promise<void> {
  const { out } = await run(host, ["ip", `-${family}`, "route", "get", at.far]);
  expectMatch(out, /\bmtu 1280\b/, `${host} did not learn the MTU`);
}

async function traceroute(place: Place, kind: "icmp" | "udp" | "tcp"): Promise<string> {
  const way = { icmp: ["-I"], udp: [], tcp: ["-T", "-p", PROBED_PORT] }[kind];
  const flags = [`-${place.family}`, "-n", "-q", "3", "-w", "1", "-m", "6"];
  const trace = async (): Promise<readonly (string | undefined)[]> =>
    hopsOf((await place.run("client", ["traceroute", ...flags, ...way, place.at.far])).out);
  await expectHops(place, trace, 1);
  await place.struck();
  const hops = await expectHops(place, trace, place.during === "nothing" ? 1 : TRACES_MAX);
  return hops.join(" ");
}

async function expectHops(
  { at }: Place,
  trace: () => Promise<readonly (string | undefined)[]>,
  tries: number,
): Promise<readonly (string | undefined)[]> {
  for (let left = tries; ; left--) {
    const hops = await trace();
    const [first, second, third] = hops;
    const isRight = hops.length === 3 && at.gateways.includes(first ?? "");
    if (isRight && second === at.hop && third === at.far) return hops;
    if (left <= 1) throw new CheckFailure(`went ${hops.map((hop) => hop ?? "*").join(" ") || "nowhere"}`);
  }
}

/** The address that each hop answered from; undefined for one that did not. Pure. */
export function hopsOf(text: string): (string | undefined)[] {
  const lines = text.split("\n").filter((line) => /^ *\d+ /.test(line));
  return lines.map((line) => line.split(/\s+/).find((word) => isIP(word) !== 0));
}
