/**
 * SIP messages as sipp sends them in its built-in scenarios (uac, uas): headers in its order, its forms of Contact, Via and SDP.
 * Owns the forms; addresses are arguments.
 */
export interface Party {
  readonly ip: string;
  readonly port: number;
  readonly mediaPort: number;
}

const family = (ip: string): string => (ip.includes(":") ? "6" : "4");
const host = (ip: string): string => (ip.includes(":") ? `[${ip}]` : ip);
const end = ({ ip, port }: { ip: string; port: number }): string => `${host(ip)}:${port}`;
const text = (lines: readonly string[]): string => lines.map((line) => `${line}\r\n`).join("");

export function sdp({ ip, mediaPort }: Party, extra: readonly string[] = []): string {
  return text([
    "v=0",
    `o=user1 53655765 2353687637 IN IP${family(ip)} ${ip}`,
    "s=-",
    `c=IN IP${family(ip)} ${ip}`,
    "t=0 0",
    `m=audio ${mediaPort} RTP/AVP 0`,
    "a=rtpmap:0 PCMU/8000",
    ...extra,
  ]);
}

export function withBody(head: readonly string[], body: string): string {
  const type = body === "" ? [] : ["Content-Type: application/sdp"];
  return `${text([...head, ...type, `Content-Length: ${body.length}`, ""])}${body}`;
}

/** The caller as it sees itself, and the endpoint that it calls. */
export interface Call {
  readonly from: Party;
  readonly to: { readonly ip: string; readonly port: number };
  readonly id?: string;
  readonly tag?: string;
}

function request(method: string, call: Call, cseq: number, isDialog: boolean): string[] {
  const { from, to } = call;
  return [
    `${method} sip:service@${end(to)} SIP/2.0`,
    `Via: SIP/2.0/UDP ${end(from)};branch=z9hG4bK-4242-1-${cseq}`,
    `From: sipp <sip:sipp@${end(from)}>;tag=4242SIPpTag001`,
    `To: service <sip:service@${end(to)}>${isDialog ? ";tag=4343SIPpTag011" : ""}`,
    `Call-ID: ${call.id ?? "1-4242@10.0.0.2"}`,
    `CSeq: ${method === "ACK" ? 1 : cseq} ${method}`,
    `Contact: sip:sipp@${end(from)}`,
    "Max-Forwards: 70",
    "Subject: Performance Test",
  ];
}

export const invite = (call: Call, body = sdp(call.from)): string =>
  withBody(request("INVITE", call, 1, false), body);
export const ack = (call: Call): string => withBody(request("ACK", call, 5, true), "");
export const bye = (call: Call): string => withBody(request("BYE", call, 2, true), "");
export const cancel = (call: Call): string => withBody(request("CANCEL", call, 1, false), "");

/** The first line, Via, From, To, Call-ID and CSeq of a request come back as they were received, the rest is the callee's. */
export function response(received: string, status: string, callee: Party, body = ""): string {
  const line = (name: string): string => received.split("\r\n").find((l) => l.startsWith(`${name}:`))!;
  const tag = line("To").includes(";tag=") ? "" : ";tag=4343SIPpTag011";
  return withBody(
    [
      `SIP/2.0 ${status}`,
      line("Via"),
      line("From"),
      `${line("To")}${tag}`,
      line("Call-ID"),
      line("CSeq"),
      `Contact: <sip:${end(callee)};transport=UDP>`,
    ],
    body,
  );
}

export interface Registration {
  readonly from: { readonly ip: string; readonly port: number };
  readonly registrar: string;
  readonly contact: string;
  readonly expires?: number;
}

export function register({ from, registrar, contact, expires }: Registration): string {
  return withBody(
    [
      `REGISTER sip:${host(registrar)} SIP/2.0`,
      `Via: SIP/2.0/UDP ${end(from)};branch=z9hG4bK-1;rport`,
      `From: <sip:phone@example.org>;tag=1`,
      `To: <sip:phone@example.org>`,
      `Call-ID: registration@${from.ip}`,
      "CSeq: 1 REGISTER",
      `Contact: ${contact}`,
      ...(expires === undefined ? [] : [`Expires: ${expires}`]),
    ],
    "",
  );
}
