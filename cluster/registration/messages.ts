/**
 * Messages of the registration channel: JSON, one object a line, inside TLS 1.3. Whoever listens says hello first; then one
 * question, one answer, and the connection ends.
 *
 *   registrar: hello --> new machine: join   --> welcome | refused
 *                        member:      renew  --> renewed | refused
 */
import type { TLSSocket } from "node:tls";
import { z } from "zod";

/** The longest message is a welcome: a few certificates and names. */
const LINE_BYTES_MAX = 65_536;
/** Of one or several certificates. */
export const PEM_CHARS_MAX = 16_384;

const name = z.string().min(1).max(64);
const pem = z.string().min(1).max(PEM_CHARS_MAX);
const role = z.enum(["node", "witness"]);
const hex = z.string().regex(/^[0-9a-f]{64}$/);
const id = z.number().int().min(1).max(255);

/** Not strict: what a later build says besides is passed over. */
export const helloSchema = z.object({
  type: z.literal("hello"),
  cluster: name,
  slots: z.number().int(),
  profile: name,
  /** Who keeps the log, if the members do not. Where it is is told to nobody who has not proven a token. */
  store: z.literal("etcd").optional(),
  /** The CA's certificate: the client knows its fingerprint. */
  ca: pem,
});

export const questionSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("join"),
    token: z.string().max(64),
    name,
    role,
    address: name,
    request: pem,
    /** In an answer to a hello with a store. */
    store: z.strictObject({ prefix: z.string().max(256), log: z.string().max(64) }).optional(),
    proof: hex,
  }),
  z.strictObject({ type: z.literal("renew"), request: pem }),
]);

export const answerSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("welcome"),
    id,
    cert: pem,
    /** All that members trust: several while one is replaced. */
    ca: pem,
    /** The cluster secret. */
    secret: hex,
    /** Voters that the cluster's log was begun with. */
    founders: z.array(id).max(255),
    members: z.array(z.strictObject({ id, name, role, address: name, weight: z.number().int() })).max(255),
  }),
  z.strictObject({ type: z.literal("renewed"), cert: pem, ca: pem }),
  z.strictObject({ type: z.literal("refused"), reason: z.string().max(1024) }),
]);

export type Hello = z.infer<typeof helloSchema>;
export type Question = z.infer<typeof questionSchema>;
export type Answer = z.infer<typeof answerSchema>;
export type Welcome = Extract<Answer, { type: "welcome" }>;

export function writeLine(socket: TLSSocket, message: Hello | Question | Answer): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

/**
 * Reads one message after the other; undefined when the connection ends, or what comes is none. Whoever sends more than the longest
 * message before somebody reads it is cut off.
 */
export class LineReader {
  readonly #socket: TLSSocket;
  #text = "";
  #onLine: (() => void) | undefined;
  #isOver = false;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#take(text));
    for (const event of ["end", "close", "error"] as const) socket.on(event, () => this.#finish());
  }

  /** One at a time. */
  async next<T>(schema: z.ZodType<T>): Promise<T | undefined> {
    let end = this.#text.indexOf("\n");
    if (end < 0 && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
      end = this.#text.indexOf("\n");
    }
    if (end < 0) return undefined;
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    try {
      return schema.safeParse(JSON.parse(line)).data;
    } catch {
      return undefined;
    }
  }

  #take(text: string): void {
    if (this.#isOver) return;
    this.#text += text;
    if (this.#text.length > LINE_BYTES_MAX) {
      this.#text = "";
      this.#finish();
      this.#socket.destroy();
    } else if (text.includes("\n")) {
      this.#onLine?.();
    }
  }

  /** Lines that came whole can be read still. */
  #finish(): void {
    this.#isOver = true;
    this.#onLine?.();
  }
}
