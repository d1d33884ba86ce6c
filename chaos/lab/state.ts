/**
 * State of a lab on disk: where its files are, and lab.json, which lets later commands find its processes.
 * Root's labs live in /run/synwall-lab; a lab in a user namespace lives in a private directory under /tmp, since its
 * /run is its own. The
 * members' data directories are on a real disk, so that commits cost what they cost.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { checkLabName, type LabOptions, type Topology } from "./topology.ts";

/** A process that the lab started. `startTicks` tells it from a later process with the same id. */
export interface LabProcess {
  readonly pid: number;
  readonly startTicks: string;
}

export interface LabState {
  readonly version: 2;
  readonly options: LabOptions;
  readonly topology: Topology;
  readonly startedAt: string;
  /** By member or service name: what runs, or ran, in the lab. */
  readonly processes: Readonly<Record<string, LabProcess>>;
}

/** Files of one lab. */
export interface LabPaths {
  readonly directory: string;
  readonly state: string;
  readonly secret: string;
  readonly ca: string;
  readonly caKey: string;
  readonly dataDirectory: string;
  config(member: string): string;
  certificate(member: string): string;
  key(member: string): string;
  /** Copies of a member that joined; those of the members that the lab begins with are the lab's own files. */
  ownCa(member: string): string;
  ownCaKey(member: string): string;
  ownSecret(member: string): string;
  socket(member: string): string;
  data(member: string): string;
  /** By how much the member's time of day is off, in milliseconds. */
  clock(member: string): string;
  log(process: string): string;
}

const STATE_VERSION = 2;

/** Whose labs these are: root's, or a user's in a user namespace. */
export interface LabOwner {
  /** As the machine knows the user, not as the namespace does. */
  readonly uid: number;
  readonly isUserNamespace: boolean;
}

/** Where the labs of this user are. */
export function labsDirectory(owner: LabOwner): string {
  return owner.isUserNamespace ? `/tmp/synwall-lab-${owner.uid}` : "/run/synwall-lab";
}

export function labPaths(name: string, owner: LabOwner): LabPaths {
  checkLabName(name);
  const directory = join(labsDirectory(owner), name);
  const dataDirectory = `/var/tmp/synwall-lab-${owner.isUserNamespace ? `user${owner.uid}` : "root"}-${name}`;
  const file = (suffix: string) => (member: string) => join(directory, `${member}${suffix}`);
  return {
    directory,
    state: join(directory, "lab.json"),
    secret: join(directory, "cluster.secret"),
    ca: join(directory, "ca.crt"),
    caKey: join(directory, "ca.key"),
    dataDirectory,
    config: file(".yaml"),
    certificate: file(".crt"),
    key: file(".key"),
    ownCa: file(".ca.crt"),
    ownCaKey: file(".ca.key"),
    ownSecret: file(".secret"),
    socket: file(".sock"),
    clock: file(".clock"),
    data: (member) => join(dataDirectory, member),
    log: file(".log"),
  };
}

/** Claims the lab's name by making its directory. Throws SW_LAB_EXISTS when it is taken. */
export function claimDirectory(paths: LabPaths, owner: LabOwner): void {
  const parent = labsDirectory(owner);
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(parent);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new SynwallError("SW_LAB_FAILED", `${parent} belongs to another user: remove it`);
  }
  try {
    mkdirSync(paths.directory, { mode: 0o700 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    const name = paths.directory.slice(parent.length + 1);
    throw new SynwallError(
      "SW_LAB_EXISTS",
      `lab "${name}" stands already: take it down with synwall lab down --name ${name}, or choose another --name`,
      {},
      cause,
    );
  }
  rmSync(paths.dataDirectory, { recursive: true, force: true });
  mkdirSync(paths.dataDirectory, { recursive: true, mode: 0o700 });
}

/** Removes everything that the lab has on disk. */
export function removeFiles(paths: LabPaths): void {
  rmSync(paths.directory, { recursive: true, force: true });
  rmSync(paths.dataDirectory, { recursive: true, force: true });
  try {
    rmdirSync(dirname(paths.directory));
  } catch {
    // Other labs stand, or there never was one.
  }
}

export function writeState(paths: LabPaths, state: LabState): void {
  // Renamed into place: a reader never sees half a file.
  writeFileSync(`${paths.state}.new`, JSON.stringify(state, undefined, 1), { mode: 0o600 });
  renameSync(`${paths.state}.new`, paths.state);
}

/** Throws SW_LAB_MISSING when no lab of that name stands. */
export function readState(name: string, paths: LabPaths): LabState {
  let text: string;
  try {
    text = readFileSync(paths.state, "utf8");
  } catch (cause) {
    const hint = existsSync(paths.directory)
      ? `is half made: synwall lab down --name ${name} removes it`
      : `does not stand: make it with synwall lab up --name ${name}`;
    throw new SynwallError("SW_LAB_MISSING", `lab "${name}" ${hint}`, {}, cause);
  }
  const state = JSON.parse(text) as LabState;
  if (state.version !== STATE_VERSION) {
    throw new SynwallError(
      "SW_LAB_MISSING",
      `lab "${name}" was made by another version of Synwall: synwall lab down --name ${name} removes it`,
    );
  }
  return state;
}
