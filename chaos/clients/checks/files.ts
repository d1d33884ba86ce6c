/**
 * File transfers whose data goes over connections that the control connection announces: FTP in all four ways, and TFTP, whose
 * server answers from a new port.
 */
import { join } from "node:path";
import { type Blob, type Check, CheckFailure, type Place } from "../model.ts";
import { expectSuccess, inUrl, lastError, megabytes, throughFault } from "./through.ts";

const CONNECT_SECONDS = "8";
/** For one small file; a tftp that is ended for it has status 124. */
const TFTP_SECONDS = 15;
/** curl's exit status; its message then tells of something else. */
const CURL_PORT_FAILED = 30;

interface FtpWay {
  readonly name: string;
  readonly what: string;
  readonly flags: (source: string) => readonly string[];
  /** The server opens the data connection. */
  readonly isActive: boolean;
  readonly isIpv4Only: boolean;
}

const FTP_WAYS: readonly FtpWay[] = [
  { name: "ftp-epsv", what: "FTP passive (EPSV)", flags: () => [], isActive: false, isIpv4Only: false },
  {
    name: "ftp-pasv",
    what: "FTP passive (PASV)",
    flags: () => ["--disable-epsv"],
    isActive: false,
    isIpv4Only: true,
  },
  {
    name: "ftp-eprt",
    what: "FTP active (EPRT)",
    flags: (source) => ["--ftp-port", inUrl(source)],
    isActive: true,
    isIpv4Only: false,
  },
  {
    name: "ftp-port",
    what: "FTP active (PORT)",
    flags: (source) => ["--ftp-port", inUrl(source), "--disable-eprt"],
    isActive: true,
    isIpv4Only: true,
  },
];

export const FILE_CHECKS: readonly Check[] = [
  ...FTP_WAYS.map((way) => ({
    name: way.name,
    what: `${way.what}, two files over one control connection`,
    ...(way.isActive ? { needs: "helpers" as const } : {}),
    ...(way.isIpv4Only ? { families: [4] as const } : {}),
    run: (place: Place) => ftp(place, way),
  })),
  { name: "tftp", what: "TFTP, files compared", needs: "helpers", run: tftp },
];

/** The first file lasts through the fault, the second one needs the control connection after it. */
async function ftp(place: Place, { flags, isActive }: FtpWay): Promise<string> {
  const { at, small, directory, during } = place;
  const blob = during === "nothing" ? small : place.blob;
  const url = (name: string): string => `ftp://${inUrl(at.server)}/${name}`;
  const [first, second] = [join(directory, "first"), join(directory, "second")] as const;
  const command = [
    ...["curl", "-sS", "--connect-timeout", CONNECT_SECONDS],
    ...[
      "-w",
      "%{num_connects} ",
      ...flags(at.source),
      "-o",
      first,
      url(blob.name),
      "-o",
      second,
      url(small.name),
    ],
  ];
  const { status, out, err } = await throughFault(place, place.start("client", command));
  if (status === CURL_PORT_FAILED)
    throw new CheckFailure("the server refused the address that was announced");
  if (status !== 0) throw new CheckFailure(lastError(err || `status ${status}`));
  await expectHash(place, first, blob);
  await expectHash(place, second, small);
  // A passive data connection counts as well.
  const connections = Number(out.trim().split(" ").at(-1)) - (isActive ? 0 : 1);
  if (connections !== 0) throw new CheckFailure("the second file needed a new control connection");
  return `${megabytes(blob.bytes + small.bytes)} in two files, hashes right`;
}

/** Transfers one after the other for as long as the check lasts: the protocol itself knows no rate. */
async function tftp(place: Place): Promise<string> {
  const { at, small: blob, directory, seconds, family } = place;
  const script = [
    `cd ${directory} && end=$(($(date +%s) + ${seconds})) && n=0`,
    "while :; do",
    `said=$(timeout ${TFTP_SECONDS} tftp -${family} -m octet ${at.server} -c get ${blob.name} file 2>&1); status=$?`,
    `echo "${blob.sha256}  file" | sha256sum -c --status 2>/dev/null || break`,
    `n=$((n + 1)); rm file; [ $(date +%s) -lt $end ] || { echo $n; exit 0; }`,
    "done",
    `echo "after $n whole files: $(stat -c %s file 2>/dev/null || echo no) bytes, tftp's status $status $said"; exit 1`,
  ].join("\n");
  const { out } = expectSuccess(
    await throughFault(place, place.start("client", ["sh", "-c", script])),
    "no whole file",
  );
  return `${out.trim().split("\n").at(-1)} x ${megabytes(blob.bytes)}, hashes right`;
}

async function expectHash({ run }: Place, file: string, blob: Blob): Promise<void> {
  const { out } = await run("client", ["sha256sum", file]);
  if (!out.startsWith(blob.sha256)) throw new CheckFailure(`content of ${file.split("/").at(-1)} differs`);
}
