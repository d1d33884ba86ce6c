/**
 * Web clients: curl over HTTP/1.1 and HTTP/2, libcurl over HTTP/3, and a visit from outside to the forwarded port.
 */
import { createHash } from "node:crypto";
import { moduleCommand } from "../../lab/processes.ts";
import { bytesOfPattern } from "../../traffic/pages.ts";
import type { Http3Arguments } from "../http3-main.ts";
import { type Check, CheckFailure, type Place } from "../model.ts";
import { http3Folder } from "../tools.ts";
import { expectMatch, inUrl, megabytes, throughFault } from "./through.ts";

const CONNECT_SECONDS = "8";

export const WEB_CHECKS: readonly Check[] = [
  curlCheck("http1", "1.1", "--http1.1"),
  curlCheck("http2", "2", "--http2"),
  { name: "http3", what: "libcurl over HTTP/3 (QUIC), content compared", run: http3 },
  { name: "http-in", what: "from outside to the web host inside, content compared", run: fromOutside },
];

function curlCheck(name: string, version: string, flag: string): Check {
  return {
    name,
    what: `curl over TLS and HTTP/${version}, content compared`,
    run: async (place) => {
      const { at, blob, caFile } = place;
      const url = `https://${inUrl(at.server)}/${blob.name}`;
      const command = `${curl(place)} ${flag} --cacert ${caFile} '${url}' | sha256sum`;
      return judge(place, await download(place, "client", command), { version, sha256: blob.sha256 });
    },
  };
}

async function http3(place: Place): Promise<string> {
  const folder = http3Folder();
  if (folder === undefined)
    throw new CheckFailure("no libcurl with HTTP/3: run scripts/setup.sh --for-tests");
  const { at, blob, caFile, bytesPerSecond } = place;
  const url = `https://${inUrl(at.server)}/${blob.name}`;
  const given: Http3Arguments = { folder, url, caFile, bytesPerSecond };
  const [node, module, json] = moduleCommand("chaos/clients/http3-main", [JSON.stringify(given)]);
  const command = `LD_LIBRARY_PATH=${folder} ${node} ${module} '${json}' | sha256sum`;
  return judge(place, await download(place, "client", command), { version: "3", sha256: blob.sha256 });
}

async function fromOutside(place: Place): Promise<string> {
  const { at, blob, bytesPerSecond } = place;
  const { bytes } = blob;
  const hash = createHash("sha256");
  for (const chunk of bytesOfPattern(bytes)) hash.update(chunk);
  const command = `${curl(place)} '${at.insideUrl}/bytes/${bytes}/${bytesPerSecond}' | sha256sum`;
  const said = await download(place, "server", command);
  return judge(place, said, { version: "1.1", sha256: hash.digest("hex") });
}

/** Without the URL; says version and size on standard error. */
function curl({ bytesPerSecond }: Place): string {
  return `curl -sS --connect-timeout ${CONNECT_SECONDS} --limit-rate ${bytesPerSecond} -w '%{stderr}HTTP/%{http_version} %{size_download} bytes\\n'`;
}

async function download(place: Place, host: string, command: string): Promise<{ out: string; err: string }> {
  return throughFault(place, place.start(host, ["sh", "-c", command]));
}

function judge(
  { blob }: Place,
  { out, err }: { readonly out: string; readonly err: string },
  { version, sha256 }: { readonly version: string; readonly sha256: string },
): string {
  const [, spoken, size] = expectMatch(err, /HTTP\/([\d.]+) (\d+) bytes\s*$/, "no answer");
  const complaint = /^(curl: .*)$/m.exec(err)?.[1];
  if (complaint !== undefined) throw new CheckFailure(`${complaint}, after ${megabytes(Number(size))}`);
  if (spoken !== version) throw new CheckFailure(`spoke HTTP/${spoken} instead of HTTP/${version}`);
  if (!out.startsWith(sha256)) {
    throw new CheckFailure(`content differs: ${size} bytes of ${blob.bytes}`);
  }
  return `${megabytes(Number(size))} over HTTP/${version}, hash right`;
}
