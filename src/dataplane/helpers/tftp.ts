/**
 * TFTP helper (RFC 1350): the server answers a request from a port of its own choice, so a read or write request lets one flow
 * come from the server's address to the port that asked. Owns the syntax of requests; changes nothing in them.
 */
import { copyAddress } from "../../base/address.ts";
import { u16 } from "../../packet/bytes.ts";
import { PROTOCOL_UDP } from "../../packet/ipv4.ts";
import { HELPER_TFTP } from "../policy-model.ts";
import { type Helper, type HelperParts, INSPECT_DROP, INSPECT_PASS } from "./helper.ts";
import { DESTINATION_OUT, type HelperContext, SOURCE_OUT } from "./helper-context.ts";
import { indexOf, keyword, startsWith } from "./text.ts";

const READ_REQUEST = 1;
const WRITE_REQUEST = 2;
const MODES = [keyword("octet"), keyword("netascii"), keyword("mail")];
/** How long the first answer may be waited for. */
const LIFE_MS = 30_000;

export class TftpHelper implements Helper {
  readonly bit = HELPER_TFTP;
  readonly protocol = PROTOCOL_UDP;
  readonly #parts: HelperParts;

  constructor(parts: HelperParts) {
    this.#parts = parts;
  }

  inspect(context: HelperContext): number {
    const { bytes, payloadAt, end, words } = context;
    if (context.direction !== 0 || !isRequest(bytes, payloadAt, end)) return INSPECT_PASS;
    if (!context.isOwner) return INSPECT_DROP;
    const { request, limits, expectations } = this.#parts;
    request.master = context.master;
    request.protocol = PROTOCOL_UDP;
    request.kind = 0;
    copyAddress(request.words, 0, words, DESTINATION_OUT);
    copyAddress(request.words, 4, words, SOURCE_OUT);
    request.port = context.sourcePortOut;
    request.realPort = context.sourcePortIn;
    request.lifeMs = LIFE_MS;
    request.call = 0;
    request.stream = 0;
    request.isControl = false;
    request.perMasterMax = limits.tftpPerMaster;
    request.isReplacing = true;
    expectations.expect(request);
    return INSPECT_PASS;
  }
}

/** opcode | file name | 0 | mode | 0, and options behind (RFC 2347). */
function isRequest(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 4) return false;
  const opcode = u16(bytes, at);
  if (opcode !== READ_REQUEST && opcode !== WRITE_REQUEST) return false;
  const nameEnd = indexOf(bytes, at + 2, end, 0);
  if (nameEnd === at + 2 || nameEnd === end) return false;
  const modeEnd = indexOf(bytes, nameEnd + 1, end, 0);
  if (modeEnd === end) return false;
  for (let i = 0; i < MODES.length; i++) {
    const mode = MODES[i]!;
    if (modeEnd - nameEnd - 1 === mode.length && startsWith(bytes, nameEnd + 1, modeEnd, mode)) return true;
  }
  return false;
}
