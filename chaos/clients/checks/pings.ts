/**
 * Pings: small, as large as a packet may be, and in fragments.
 */
import { parsePing } from "../../traffic/ping.ts";
import { type Check, CheckFailure, lastWords, type Place } from "../model.ts";
import { throughFault } from "./through.ts";

const INTERVAL_S = 0.05;
/** With headers 1500 bytes. */
const LARGEST_PAYLOAD = { 4: 1472, 6: 1452 } as const;
const FRAGMENTED_PAYLOAD = 4000;

export const PING_CHECKS: readonly Check[] = [
  { name: "ping", what: "ping", run: (place) => ping(place, []) },
  {
    name: "ping-large",
    what: "ping with packets of 1500 bytes that may not be fragmented",
    run: (place) => ping(place, ["-M", "do", "-s", String(LARGEST_PAYLOAD[place.family])]),
  },
  {
    name: "ping-fragments",
    what: `ping with ${FRAGMENTED_PAYLOAD} bytes, in fragments`,
    needs: "fragments",
    run: (place) => ping(place, ["-s", String(FRAGMENTED_PAYLOAD)]),
  },
];

async function ping(place: Place, flags: readonly string[]): Promise<string> {
  const { at, family, seconds, during, silenceMsMax } = place;
  const count = Math.ceil(seconds / INTERVAL_S);
  const command = ["ping", `-${family}`, "-n", "-c", String(count), "-i", String(INTERVAL_S), "-W", "2"];
  const outcome = await throughFault(place, place.start("client", [...command, ...flags, at.server]));
  const { sent, received, duplicated } = parsePing(outcome.out);
  if (sent === 0) throw new CheckFailure(lastWords(outcome));
  const lost = sent - received;
  const most = during === "nothing" ? 0 : Math.ceil(silenceMsMax / 1000 / INTERVAL_S);
  const line = `${received} of ${sent} answered`;
  if (lost > most || duplicated > 0) throw new CheckFailure(`${line}, ${duplicated} doubled`);
  return line;
}
