/**
 * SIP helper (RFC 3261 over UDP): rewrites the endpoints that messages name, lets the media come that they announce, and the
 * calls to a registered contact. Owns what messages do to a call's expectations; reading is sip-message.ts, hosts are
 * sip-endpoints.ts, media are sdp.ts.
 *
 *   request    Request-URI, topmost Via, From, To, Contact, Route, Record-Route, body     sender's and receiver's endpoints
 *   response   the same without URI; its topmost Via is its receiver's
 *
 * A message is rewritten whole or passes untouched: what is malformed, spread over several datagrams or too large opens nothing,
 * and its receiver is the better judge (a dropped keep-alive or extension would break what works). TCP and TLS are not read.
 */
import { copyAddress, isIpv4, isSameAddress } from "../../base/address.ts";
import { PROTOCOL_UDP } from "../../packet/ipv4.ts";
import { NONE } from "../flow-layout.ts";
import { HELPER_SIP } from "../policy-model.ts";
import { IS_ANSWERED, IS_LASTING, IS_SIGNALLING, TOWARD_SERVER } from "./expectation.ts";
import {
  announcePort,
  type Helper,
  type HelperParts,
  INSPECT_DROP,
  INSPECT_EDITED,
  INSPECT_PASS,
} from "./helper.ts";
import {
  DESTINATION_IN,
  DESTINATION_OUT,
  type HelperContext,
  SOURCE_IN,
  SOURCE_OUT,
} from "./helper-context.ts";
import type { RowTable } from "./satellite.ts";
import { MEDIA_LIFE_MS, SessionDescription } from "./sdp.ts";
import { SipEndpoints } from "./sip-endpoints.ts";
import {
  HEADER_CONTACT,
  HEADER_CONTENT_LENGTH,
  HEADER_RECORD_ROUTE,
  HEADER_VIA,
  METHOD_BYE,
  METHOD_CANCEL,
  METHOD_INVITE,
  METHOD_REGISTER,
  SipMessage,
} from "./sip-message.ts";

/** A registration holds an hour at most, whatever it asks for: clients renew theirs (RFC 3261 section 10.2.1). */
const REGISTRATION_SECONDS_MAX = 3600;
const PORT_MIN = 1024;
const DEFAULT_PORT = 5060;
/** Answers that end a dialog that was there already (RFC 3261 section 12.2.1.2). */
const STATUS_TIMEOUT = 408;
const STATUS_NO_DIALOG = 481;
/** Answers that ask to register again with a password. */
const STATUS_UNAUTHORIZED = 401;
const STATUS_PROXY = 407;

export class SipHelper implements Helper {
  readonly bit = HELPER_SIP;
  readonly protocol = PROTOCOL_UDP;
  readonly #parts: HelperParts;
  readonly #message = new SipMessage();
  readonly #endpoints = new SipEndpoints();
  readonly #description: SessionDescription;

  constructor(parts: HelperParts, table: RowTable) {
    this.#parts = parts;
    this.#description = new SessionDescription(parts, table);
  }

  inspect(context: HelperContext): number {
    const message = this.#message;
    const { bytes, words, master } = context;
    if (!message.parse(bytes, context.payloadAt, context.end)) return INSPECT_PASS;
    // Between families addresses cannot be replaced one by one.
    if (isIpv4(words, SOURCE_IN) !== isIpv4(words, SOURCE_OUT)) return INSPECT_PASS;
    if (!context.isIntact()) return INSPECT_PASS;
    const isRegister = message.isRequest && message.method === METHOD_REGISTER;
    // Nothing is decided in another's stead: the sender repeats what it got no answer to.
    if (!context.isOwner && (message.hasSdp || isRegister)) return INSPECT_DROP;
    this.#endpoints.start(context);
    if (context.isOwner) {
      if (isRegister) this.#register(context);
      else this.#follow(master);
      if (message.hasSdp) {
        this.#description.rewrite(context, message.bodyAt, message.bodyEnd, message.call);
        if (!message.isRequest && message.status >= 200) this.#answered(master);
      }
    }
    const isTranslated =
      context.isSourceTranslated ||
      !isSameAddress(words, DESTINATION_IN, words, DESTINATION_OUT) ||
      context.sourcePortIn !== context.sourcePortOut ||
      context.destinationPortIn !== context.destinationPortOut;
    return isTranslated ? this.#rewrite(context) : INSPECT_PASS;
  }

  #rewrite(context: HelperContext): number {
    const message = this.#message;
    const endpoints = this.#endpoints;
    const { out } = endpoints;
    if (message.isRequest) endpoints.mapUris(message.uriAt, message.uriEnd);
    let isTopmost = true;
    for (let i = 0; i < message.headers; i++) {
      const kind = message.kind[i]!;
      const at = message.valueAt[i]!;
      const end = message.valueEnd[i]!;
      if (kind === HEADER_VIA) {
        if (isTopmost) endpoints.mapVia(at, end, message.isRequest);
        isTopmost = false;
      } else if (kind <= HEADER_RECORD_ROUTE) {
        endpoints.mapUris(at, end);
      } else if (kind === HEADER_CONTENT_LENGTH && message.hasSdp) {
        endpoints.copyTo(at);
        out.decimal(this.#description.out.length);
        endpoints.skipTo(end);
      }
    }
    endpoints.copyTo(message.bodyAt);
    if (message.hasSdp) {
      out.copy(this.#description.out.bytes, 0, this.#description.out.length);
      endpoints.skipTo(message.bodyEnd);
    }
    endpoints.copyTo(context.end);
    if (out.isFull || this.#description.out.isFull || !context.fits(out.length)) {
      this.#parts.counters.refused();
      return INSPECT_PASS;
    }
    if (isEqual(context, out.bytes, out.length)) return INSPECT_PASS;
    if (!context.edit(0, context.payloadBytes, out.bytes, out.length)) return INSPECT_PASS;
    this.#parts.counters.edited();
    return INSPECT_EDITED;
  }

  /** What a message without a description of its own does to its call's expectations. */
  #follow(master: number): void {
    const { expectations } = this.#parts;
    const { method, status, call, isRequest } = this.#message;
    if (isRequest) {
      if (method === METHOD_BYE || method === METHOD_CANCEL) expectations.endCall(master, call);
      return;
    }
    if (method === METHOD_REGISTER) {
      if (status >= 300 && status !== STATUS_UNAUTHORIZED && status !== STATUS_PROXY)
        this.#unregister(master, 0);
      return;
    }
    if (method !== METHOD_INVITE) return;
    const isOver = status === STATUS_TIMEOUT || status === STATUS_NO_DIALOG;
    for (let row = expectations.first(master), next = NONE; row !== NONE; row = next) {
      next = expectations.next(row, master);
      if (expectations.callOf(row) !== call) continue;
      if (status < 200) expectations.prolong(row, MEDIA_LIFE_MS);
      else if (status >= 300) {
        // A refused change of a call that stands leaves it as it was (RFC 3261 section 14.1).
        const isStanding = (expectations.kindOf(row) & IS_ANSWERED) !== 0;
        if (isOver || !isStanding) expectations.close(row);
      }
    }
  }

  /** The call's media are agreed upon. */
  #answered(master: number): void {
    const { expectations } = this.#parts;
    for (let row = expectations.first(master); row !== NONE; row = expectations.next(row, master)) {
      if (expectations.callOf(row) === this.#message.call) expectations.addKind(row, IS_ANSWERED);
    }
  }

  /** The first own contact of a registration: calls may come to it from the registrar. */
  #register(context: HelperContext): void {
    const message = this.#message;
    const endpoints = this.#endpoints;
    const { master, direction, words, bytes } = context;
    for (let i = 0; i < message.headers; i++) {
      if (message.kind[i] !== HEADER_CONTACT) continue;
      const at = message.valueAt[i]!;
      const end = message.valueEnd[i]!;
      const host = endpoints.findUri(at, end);
      const seconds = Math.min(message.expiresOf(bytes, at, end), REGISTRATION_SECONDS_MAX);
      if (host === end) {
        // "*": all contacts, with an Expires of 0 only (RFC 3261 section 10.2.2).
        if (seconds === 0) this.#unregister(master, 0);
        continue;
      }
      if (!endpoints.readHost(host, end) || !isSameAddress(endpoints.address, 0, words, SOURCE_IN)) continue;
      const port = endpoints.port < 0 ? DEFAULT_PORT : endpoints.port;
      if (seconds === 0) this.#unregister(master, port);
      else if (port >= PORT_MIN) this.#expectCalls(context, direction, port, seconds);
      return;
    }
  }

  #expectCalls(context: HelperContext, direction: number, realPort: number, seconds: number): void {
    const { request, expectations, limits } = this.#parts;
    const { master, words } = context;
    request.master = master;
    request.protocol = PROTOCOL_UDP;
    request.kind = IS_LASTING | IS_SIGNALLING | (direction === 1 ? TOWARD_SERVER : 0);
    copyAddress(request.words, 0, words, DESTINATION_OUT);
    copyAddress(request.words, 4, words, SOURCE_OUT);
    request.realPort = realPort;
    request.lifeMs = seconds * 1000;
    request.call = 0;
    request.stream = 0;
    request.isControl = false;
    request.perMasterMax = limits.sipPerMaster;
    request.isReplacing = false;
    const known = this.#contactOf(master, realPort);
    if (known !== NONE) request.port = expectations.portOf(known);
    else if (realPort === context.sourcePortIn) request.port = context.sourcePortOut;
    else if (!announcePort(this.#parts, context)) return;
    const { port } = request;
    if (expectations.expect(request) === NONE) return;
    this.#endpoints.contactPort = realPort;
    this.#endpoints.contactPortOut = port;
  }

  /** The expectation of calls to a contact at a port, or to any with 0; NONE when there is none. */
  #contactOf(master: number, realPort: number): number {
    const { expectations } = this.#parts;
    for (let row = expectations.first(master); row !== NONE; row = expectations.next(row, master)) {
      if (!expectations.isSignalling(row)) continue;
      if (realPort === 0 || expectations.realPortOf(row) === realPort) return row;
    }
    return NONE;
  }

  #unregister(master: number, realPort: number): void {
    for (let row = this.#contactOf(master, realPort); row !== NONE; row = this.#contactOf(master, realPort)) {
      this.#parts.expectations.close(row);
    }
  }
}

function isEqual(context: HelperContext, text: Uint8Array, length: number): boolean {
  if (length !== context.payloadBytes) return false;
  for (let i = 0; i < length; i++) if (context.bytes[context.payloadAt + i] !== text[i]) return false;
  return true;
}
