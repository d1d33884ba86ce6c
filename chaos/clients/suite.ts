/**
 * Suite: runs the client checks in a standing lab, one after the other in peace, all at once across a kill. Owns the order and
 * that the lab is left whole; what a client does is in checks/.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { killMember, startAgain } from "../lab/faults.ts";
import { type Lab, waitAnswering, waitSettled } from "../lab/lab.ts";
import {
  FAR_ADDRESS,
  FAR_ADDRESS6,
  HOP_ADDRESS,
  HOP_ADDRESS6,
  SERVER_ADDRESS,
  SERVER_ADDRESS6,
} from "../lab/topology.ts";
import { pause } from "../lab/wait.ts";
import { addressesOf, chooseSource, ownerOf, useSource } from "./addresses.ts";
import { CHECKS } from "./checks/all.ts";
import { Hosts } from "./hosts.ts";
import { Meeting } from "./meeting.ts";
import {
  type Addresses,
  type Blob,
  type Check,
  CheckFailure,
  type ClientReport,
  type During,
  type Family,
  type Finding,
  type Place,
} from "./model.ts";
import { FTP_BYTES_PER_SECOND, type ServerFiles, serverFiles, writeServerFiles } from "./server-files.ts";
import { startServers } from "./servers.ts";
import { requireTools, SERVER_FILES } from "./tools.ts";

const COMMANDS = ["curl", "ssh", "ssh-keygen", "iperf3", "tftp", "sipp", "ping", "traceroute", "sha256sum"];
/** How long transfers last, and at which rate. Across a kill there are many at once. */
const LENGTHS = {
  nothing: { seconds: 2, bytesPerSecond: 2_000_000 },
  kill: { seconds: 14, bytesPerSecond: FTP_BYTES_PER_SECOND },
} as const;
const SMALL_BYTES = 256 * 1024;
/** Datagrams may be lost for so long when a node dies; see also LIMITS of the drills. */
const SILENCE_MS_MAX = 1_000;
const FIRST_PORT = 20_000;

export interface SuiteOptions {
  readonly durings: readonly During[];
  readonly families: readonly Family[];
  /** Names of checks; empty: all. */
  readonly only: readonly string[];
}

/** Runs the checks and answers what came out. Throws SW_LAB_FAILED when they cannot be run at all. */
export async function runClients(lab: Lab, options: SuiteOptions): Promise<ClientReport> {
  const { owner } = lab.context;
  if (owner.isUserNamespace) {
    throw new SynwallError(
      "SW_LAB_FAILED",
      "lab clients: the servers change user, which needs root: run as root",
    );
  }
  requireTools(COMMANDS, Object.values(SERVER_FILES));
  const checks = chooseChecks(options.only);
  await waitSettled(lab);
  const suite = new Suite(lab);
  try {
    await suite.prepare();
    return await suite.run(checks, options);
  } finally {
    await suite.end();
  }
}

function chooseChecks(only: readonly string[]): readonly Check[] {
  for (const name of only) {
    if (CHECKS.some((check) => check.name === name)) continue;
    const known = CHECKS.map((check) => check.name).join(", ");
    throw new SynwallError("SW_LAB_FAILED", `no client check "${name}": use ${known}`);
  }
  return CHECKS.filter(({ name }) => only.length === 0 || only.includes(name));
}

class Suite {
  readonly #lab: Lab;
  readonly #hosts: Hosts;
  readonly #files: ServerFiles;
  readonly #blobs = new Map<string, Blob>();
  readonly #victims: string[] = [];
  /** Whose source address was chosen. */
  readonly #families = new Set<Family>();
  #nextPort = FIRST_PORT;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#hosts = new Hosts(lab.state.options.name);
    this.#files = serverFiles(join(lab.paths.dataDirectory, "clients"));
  }

  async prepare(): Promise<void> {
    const { ipv6 } = this.#lab.state.topology.features;
    rmSync(this.#files.directory, { recursive: true, force: true });
    const v6 = ipv6 ? SERVER_ADDRESS6 : undefined;
    const names = [SERVER_ADDRESS, HOP_ADDRESS, FAR_ADDRESS];
    if (ipv6) names.push(SERVER_ADDRESS6, HOP_ADDRESS6, FAR_ADDRESS6);
    const blobs = await writeServerFiles(this.#files, {
      names,
      address4: SERVER_ADDRESS,
      address6: v6,
      blobs: [
        { name: "small", bytes: SMALL_BYTES },
        ...Object.entries(LENGTHS).map(([name, { seconds, bytesPerSecond }]) => ({
          name,
          bytes: seconds * bytesPerSecond,
        })),
      ],
    });
    for (const blob of blobs) this.#blobs.set(blob.name, blob);
    await startServers(this.#hosts, this.#files, { v4: SERVER_ADDRESS, v6 });
  }

  async end(): Promise<void> {
    for (const family of this.#families) await useSource(this.#lab, family, undefined);
    await this.#hosts.endAll();
    rmSync(this.#files.directory, { recursive: true, force: true });
  }

  async run(checks: readonly Check[], { durings, families }: SuiteOptions): Promise<ClientReport> {
    const findings: Finding[] = [];
    for (const during of durings) {
      for (const family of families) {
        const fitting = checks.filter((check) => check.families?.includes(family) ?? true);
        if (family === 6 && !this.#lab.state.topology.features.ipv6) {
          findings.push(...fitting.map((check) => untried(check, during)));
          continue;
        }
        const found =
          during === "nothing" ? this.#inPeace(fitting, family) : this.#acrossKill(fitting, family);
        findings.push(...(await found));
      }
    }
    const count = (verdict: string): number => findings.filter((each) => each.verdict === verdict).length;
    const { options, topology } = this.#lab.state;
    return {
      lab: options.name,
      profile: options.profile,
      driver: options.port,
      features: topology.features,
      victims: this.#victims,
      findings,
      passed: count("pass"),
      failed: count("fail"),
      notYet: count("not-yet"),
    };
  }

  async #inPeace(checks: readonly Check[], family: Family): Promise<Finding[]> {
    const at = addressesOf(family);
    await this.#speakFrom(family, at.source);
    const findings: Finding[] = [];
    for (const check of checks) {
      this.#lab.context.abort?.throwIfAborted();
      findings.push(
        await this.#examine(
          check,
          this.#place(check, family, "nothing", at, async () => undefined),
        ),
      );
    }
    return findings;
  }

  /** The node that owns the inside web host's flows dies, and the client uses an address that it owns as well. */
  async #acrossKill(checks: readonly Check[], family: Family): Promise<Finding[]> {
    const victim = await ownerOf(this.#lab, addressesOf(family).inside);
    const source = await chooseSource(this.#lab, family, victim);
    await this.#speakFrom(family, source);
    const at = { ...addressesOf(family), source };
    const meeting = new Meeting(checks.map(({ name }) => name));
    const all = checks.map(async (check) => {
      const place = this.#place(check, family, "kill", at, () => meeting.arrive(check.name));
      const finding = await this.#examine(check, place);
      void meeting.arrive(check.name);
      return finding;
    });
    await meeting.everybody();
    this.#lab.context.progress(`IPv${family}: ${checks.length} clients are under way; ${victim} is killed`);
    this.#victims.push(victim);
    await killMember(this.#lab, victim);
    meeting.release();
    const findings = await Promise.all(all);
    await startAgain(this.#lab, victim);
    await waitAnswering(this.#lab, victim);
    await waitSettled(this.#lab);
    return findings;
  }

  /** Until the end of the suite. */
  async #speakFrom(family: Family, source: string): Promise<void> {
    this.#families.add(family);
    await useSource(this.#lab, family, source);
  }

  async #examine(check: Check, place: Place): Promise<Finding> {
    const startedMs = performance.now();
    const found = (verdict: Finding["verdict"], detail: string): Finding => {
      const { family, during } = place;
      const tookMs = Math.round(performance.now() - startedMs);
      this.#lab.context.progress(`${check.name} IPv${family}: ${verdict}: ${detail}`);
      return { check: check.name, family, during, verdict, detail, tookMs };
    };
    try {
      return found("pass", await check.run(place));
    } catch (error) {
      if (!(error instanceof CheckFailure)) throw error;
      const { features } = this.#lab.state.topology;
      const isNotYet = check.needs !== undefined && !features[check.needs];
      return found(isNotYet ? "not-yet" : "fail", error.message);
    } finally {
      rmSync(place.directory, { recursive: true, force: true });
    }
  }

  #place(check: Check, family: Family, during: During, at: Addresses, struck: () => Promise<void>): Place {
    const { seconds, bytesPerSecond } = LENGTHS[during];
    const directory = join(this.#files.directory, `${check.name}-${family}-${during}`);
    mkdirSync(directory);
    return {
      ...{ family, during, at, seconds, bytesPerSecond, directory, struck },
      blob: this.#blobs.get(during)!,
      small: this.#blobs.get("small")!,
      silenceMsMax: SILENCE_MS_MAX,
      caFile: this.#files.certificate,
      sshKeyFile: this.#files.sshKey,
      run: this.#hosts.run,
      start: (host, command) => this.#hosts.start(host, command),
      nextPort: () => this.#nextPort++,
      listening: async (host, port) => {
        if (await this.#hosts.isListening(host, port)) return;
        throw new CheckFailure(`nothing listens on port ${port} of ${host}`);
      },
      pause: (ms) => pause(ms, this.#lab.context.abort),
    };
  }
}

function untried({ name }: Check, during: During): Finding {
  const detail = "not tried: IPv6 is off in this lab";
  return { check: name, family: 6, during, verdict: "not-yet", detail, tookMs: 0 };
}
