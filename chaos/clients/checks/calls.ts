/**
 * Calls: SIP over UDP with sipp at both ends. Signalling alone, and a call whose media must reach what the caller announced.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { moduleCommand } from "../../lab/processes.ts";
import { poll } from "../../lab/wait.ts";
import type { HostProcess } from "../hosts.ts";
import type { MediaArguments, MediaReport } from "../media-main.ts";
import { type Check, CheckFailure, lastWords, type Place } from "../model.ts";
import { expectMatch, inUrl, throughFault } from "./through.ts";

const SIP_PORT = 5060;
const CALLS_PER_SECOND = 5;
const CALL_MS = 1_000;
const INVITE_TIMEOUT_MS = 8_000;
const MEDIA_PER_SECOND = 50;

export const CALL_CHECKS: readonly Check[] = [
  { name: "sip", what: "SIP calls with sipp, signalling over UDP", run: signalling },
  {
    name: "sip-media",
    what: "a SIP call whose media reaches what the caller announced",
    needs: "helpers",
    run: media,
  },
];

async function signalling(place: Place): Promise<string> {
  const { at, seconds } = place;
  const answering = answerCalls(place, "server", at.server, []);
  try {
    await place.listening("server", SIP_PORT);
    const calls = Math.ceil(seconds * CALLS_PER_SECOND);
    const calling = place.start("client", [
      ...["sipp", "-sn", "uac", `${inUrl(at.server)}:${SIP_PORT}`, "-i", at.source, "-nostdin"],
      ...["-p", String(place.nextPort()), "-r", String(CALLS_PER_SECOND), "-m", String(calls)],
      ...["-d", String(CALL_MS), "-timeout", String(seconds + 15), "-timeout_error"],
    ]);
    const outcome = await throughFault(place, calling);
    const [good, bad] = ["Successful call", "Failed call"].map((title) => lastCount(outcome.out, title));
    if (outcome.status !== 0 || good !== calls) {
      throw new CheckFailure(`${good} of ${calls} calls went well, ${bad} failed: ${lastWords(outcome)}`);
    }
    return `${calls} calls, none failed`;
  } finally {
    await answering.end();
  }
}

/** The caller echoes its media; the other side sends to the address and port that arrived in the invitation. */
async function media(place: Place): Promise<string> {
  const { at, seconds, directory } = place;
  const log = join(directory, "messages.log");
  const answering = answerCalls(place, "hop", at.hop, ["-trace_msg", "-message_file", log]);
  const callMs = (seconds + 8) * 1000;
  try {
    await place.listening("hop", SIP_PORT);
    const calling = place.start("client", [
      ...["sipp", "-sn", "uac", `${inUrl(at.hop)}:${SIP_PORT}`, "-i", at.source, "-nostdin"],
      ...["-p", String(place.nextPort()), "-mp", String(place.nextPort()), "-rtp_echo"],
      ...["-m", "1", "-d", String(callMs)],
    ]);
    try {
      const { address, port } = await announced(place, log);
      if (!at.seenAs.includes(address)) {
        throw new CheckFailure(`the invitation announces ${address}, which the outside cannot reach`);
      }
      return await talk(place, { address, port, perSecond: MEDIA_PER_SECOND, seconds });
    } finally {
      await calling.end();
    }
  } finally {
    await answering.end();
  }
}

function answerCalls(place: Place, host: string, address: string, more: readonly string[]): HostProcess {
  const command = ["sipp", "-sn", "uas", "-i", address, "-p", String(SIP_PORT), "-nostdin", ...more];
  return place.start(host, command);
}

/** Where the caller wants its media, as the called side read it. */
async function announced(_place: Place, log: string): Promise<{ address: string; port: number }> {
  const text = (): string => (existsSync(log) ? readFileSync(log, "utf8") : "");
  await poll(() => /^m=audio \d+/m.test(text()), INVITE_TIMEOUT_MS);
  const [, address] = expectMatch(text(), /^c=IN IP[46] (\S+)/m, "no invitation arrived");
  const [, port] = expectMatch(text(), /^m=audio (\d+)/m, "no media in the invitation");
  return { address: address!, port: Number(port) };
}

async function talk(place: Place, given: MediaArguments): Promise<string> {
  const command = moduleCommand("chaos/clients/media-main", [JSON.stringify(given)]);
  const outcome = await throughFault(place, place.start("hop", command));
  if (outcome.status !== 0) throw new CheckFailure(`media: ${lastWords(outcome)}`);
  const { sent, echoed } = JSON.parse(outcome.out) as MediaReport;
  const lost = sent - echoed;
  const mostMs = place.during === "nothing" ? 1000 / MEDIA_PER_SECOND : place.silenceMsMax;
  const line = `${echoed} of ${sent} media packets echoed`;
  if (lost > Math.ceil((mostMs / 1000) * MEDIA_PER_SECOND)) throw new CheckFailure(line);
  return `${line}, announced as ${given.address}`;
}

/** The last of sipp's running counts under `title`. Pure. */
export function lastCount(text: string, title: string): number {
  const found = [...text.matchAll(new RegExp(`${title}\\s*\\|\\s*\\d+\\s*\\|\\s*(\\d+)`, "g"))];
  return Number(found.at(-1)?.[1] ?? 0);
}
