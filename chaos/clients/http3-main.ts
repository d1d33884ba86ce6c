/**
 * HTTP/3 client: libcurl's easy interface, called directly, since Debian's curl command is built without HTTP/3. Writes what it
 * gets to standard output, and version and size to standard error, as the other web clients do.
 */
import { join } from "node:path";
import koffi from "koffi";

export interface Http3Arguments {
  /** Where libcurl-gnutls.so.4 is. */
  readonly folder: string;
  readonly url: string;
  readonly caFile: string;
  readonly bytesPerSecond: number;
}

// curl/curl.h; libcurl never changes these numbers.
const OPT_URL = 10_002;
const OPT_CAINFO = 10_065;
const OPT_CONNECTTIMEOUT = 78;
const OPT_HTTP_VERSION = 84;
const OPT_MAX_RECV_SPEED_LARGE = 30_146;
const HTTP_VERSION_3ONLY = 31;
const INFO_SIZE_DOWNLOAD_T = 0x600008;
const INFO_HTTP_VERSION = 0x20002e;
const CONNECT_SECONDS = 8;
/** What libcurl calls HTTP/3 in CURLINFO_HTTP_VERSION. */
const SPOKE_3 = 30;

const given = JSON.parse(process.argv[2] ?? "{}") as Http3Arguments;
const curl = koffi.load(join(given.folder, "libcurl-gnutls.so.4"));
const easyInit = curl.func("void *curl_easy_init()");
const setOption = curl.func("int curl_easy_setopt(void *handle, int option, ...)");
const getInfo = curl.func("int curl_easy_getinfo(void *handle, int info, ...)");
const perform = curl.func("int curl_easy_perform(void *handle)");
const describe = curl.func("const char *curl_easy_strerror(int code)");

const handle = easyInit() as unknown;
setOption(handle, OPT_URL, "str", given.url);
setOption(handle, OPT_CAINFO, "str", given.caFile);
setOption(handle, OPT_CONNECTTIMEOUT, "long", CONNECT_SECONDS);
setOption(handle, OPT_HTTP_VERSION, "long", HTTP_VERSION_3ONLY);
setOption(handle, OPT_MAX_RECV_SPEED_LARGE, "int64_t", given.bytesPerSecond);

// Without a callback libcurl writes with stdio to standard output, which the end of this process flushes.
const code = perform(handle) as number;
if (code !== 0) process.stderr.write(`curl: (${code}) ${describe(code)}\n`);
const version = info("long");
process.stderr.write(`HTTP/${version === SPOKE_3 ? "3" : `number ${version}`} ${info("size")} bytes\n`);
process.exit(code);

function info(which: "long" | "size"): number {
  const cell = new BigInt64Array(1);
  getInfo(handle, which === "long" ? INFO_HTTP_VERSION : INFO_SIZE_DOWNLOAD_T, "int64_t *", cell);
  return Number(cell[0]);
}
