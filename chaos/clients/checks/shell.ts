/**
 * Secure shell: a command on a new connection, and a session that echoes every line both ways.
 */
import { type Check, CheckFailure, type Place } from "../model.ts";
import { expectSuccess, throughFault } from "./through.ts";

const CONNECT_SECONDS = 8;
const LINE_INTERVAL_MS = 100;

export const SHELL_CHECKS: readonly Check[] = [
  { name: "ssh", what: "ssh runs a command on a new connection", run: runCommand },
  { name: "ssh-session", what: "ssh session, each line echoed", run: session },
];

async function runCommand(place: Place): Promise<string> {
  await place.struck();
  const ask = ["echo", "$((6 * 7))"];
  const { out } = expectSuccess(await place.run("client", [...ssh(place), ...ask]), "ssh");
  if (out.trim() !== "42") throw new CheckFailure(`answered ${JSON.stringify(out.slice(0, 40))}`);
  return "connected, command ran";
}

async function session(place: Place): Promise<string> {
  const running = place.start("client", [...ssh(place), "cat"]);
  const lines = Math.ceil((place.seconds * 1000) / LINE_INTERVAL_MS);
  const talk = (async () => {
    for (let line = 1; line <= lines && !running.hasEnded; line++) {
      running.write(`line ${line}\n`);
      await place.pause(LINE_INTERVAL_MS);
    }
    running.closeInput();
  })();
  const { out } = expectSuccess(await throughFault(place, running), "session");
  await talk;
  const echoed = out.trim().split("\n");
  const wrong = echoed.findIndex((text, i) => text !== `line ${i + 1}`);
  if (wrong >= 0) throw new CheckFailure(`line ${wrong + 1} came back as ${JSON.stringify(echoed[wrong])}`);
  if (echoed.length !== lines) throw new CheckFailure(`${echoed.length} of ${lines} lines came back`);
  return `${lines} lines there and back`;
}

/** Nothing of the user's own configuration, keys or known hosts. */
function ssh({ at, sshKeyFile }: Place): string[] {
  const options = [
    "UserKnownHostsFile=/dev/null",
    "StrictHostKeyChecking=no",
    "IdentitiesOnly=yes",
    "BatchMode=yes",
    `ConnectTimeout=${CONNECT_SECONDS}`,
    "LogLevel=ERROR",
  ];
  const flags = options.flatMap((option) => ["-o", option]);
  return ["ssh", "-F", "none", "-i", sshKeyFile, ...flags, `root@${at.server}`];
}
