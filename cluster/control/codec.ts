/**
 * Codec: commands and snapshots of the replicated state machine as UTF-8 JSON with a version. What another process wrote
 * is checked whole here, so that the machine sees only well-formed commands.
 * Owns the envelope `{ v: 1, id, by, cmd }`; machine.ts owns what a command does.
 */
import { z } from "zod";
import { type Command, STORE_VOTER } from "./model.ts";

/** Version of the envelope of commands and snapshots: of another one nothing can be read. */
export const COMMAND_VERSION = 1;
/**
 * What members must know alike to apply one log alike: a command that one of them refuses and another one takes parts their states.
 * Raised with each change of the schemas below; `synwall upgrade` refuses to let two of them stand side by side. 2: tables name former
 * backups (ADR 50). 3: nobody is removed without whose vote the others have no majority, and no disabled node becomes active.
 */
export const STATE_VERSION = 4;
/** The largest cluster has 1024 slots: about 40 KiB of JSON. Anything near this limit is not a command. */
export const COMMAND_BYTES_MAX = 1_048_576;

export interface Envelope {
  /** Unique over all processes and lives: a command that was proposed twice is applied once. */
  readonly id: string;
  /** Node id of the proposer. */
  readonly by: number;
  readonly cmd: Command;
}

export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

const whole = z.number().int().min(0);
const nodeId = z.number().int().min(0).max(255);
const memberId = z.number().int().min(1).max(255);
const voterId = z.number().int().min(1).max(STORE_VOTER);
const slotNumber = z.number().int().min(0).max(1023);

const table = z.strictObject({
  epoch: whole,
  owner: z.array(nodeId).max(1024),
  backup: z.array(nodeId).max(1024),
  synced: z.array(z.boolean()).max(1024),
  awaiting: z.array(z.array(memberId).max(255)).max(1024),
  movedEpoch: z.array(whole).max(1024),
  backupEpoch: z.array(whole).max(1024),
  former: z.array(nodeId).max(1024).exactOptional(),
  cause: z.enum(["initial", "takeover", "handover", "backup", "settled", "voters", "forced"]),
});

const logName = z.string().min(1).max(64);
const memberShape = {
  id: memberId,
  name: z.string().min(1).max(64),
  role: z.enum(["node", "witness"]),
  address: z.string().min(1).max(64),
  weight: z.number().int().min(0).max(100),
};
const member = z.strictObject(memberShape);

const voterSet = z.array(voterId).max(255);
const quorum = z.strictObject({ epoch: whole, voters: voterSet, outgoing: voterSet, known: voterSet });
const tokenShape = {
  id: z.string().min(1).max(64),
  key: z.string().regex(/^[0-9a-f]{64}$/),
  role: z.enum(["node", "witness"]),
  name: z.string().min(1).max(64).exactOptional(),
  weight: z.number().int().min(0).max(100),
  expiresWallMs: whole,
};

const command = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("up"),
    member,
    slots: z.number().int().min(1).max(1024).exactOptional(),
    log: logName.exactOptional(),
  }),
  z.strictObject({ type: z.literal("down"), node: memberId, incarnation: whole, baseEpoch: whole, table }),
  z.strictObject({ type: z.literal("table"), baseEpoch: whole, table }),
  z.strictObject({
    type: z.literal("ready"),
    node: memberId,
    slots: z.array(slotNumber).max(1024),
    backupEpochs: z.array(whole).max(1024),
  }),
  z.strictObject({
    type: z.literal("settled"),
    node: memberId,
    slots: z.array(slotNumber).max(1024),
    movedEpochs: z.array(whole).max(1024),
  }),
  z.strictObject({
    type: z.literal("setState"),
    node: memberId,
    state: z.enum(["draining", "drained", "active", "joining", "removed"]),
  }),
  z.strictObject({ type: z.literal("enable"), node: memberId, isEnabled: z.boolean() }),
  z.strictObject({ type: z.literal("weight"), node: memberId, weight: z.number().int().min(0).max(100) }),
  z.strictObject({ type: z.literal("voters"), baseEpoch: whole, from: voterSet, to: voterSet }),
  z.strictObject({ type: z.literal("votersDone"), baseEpoch: whole }),
  z.strictObject({ type: z.literal("votersKnown"), node: voterId, epoch: whole }),
  z.strictObject({ type: z.literal("token"), token: z.strictObject(tokenShape) }),
  z.strictObject({
    type: z.literal("join"),
    token: z.string().min(1).max(64),
    name: memberShape.name,
    role: memberShape.role,
    address: memberShape.address,
    aboveId: nodeId,
    atWallMs: whole,
  }),
]);

const envelope = z.strictObject({
  v: z.literal(COMMAND_VERSION),
  id: z.string().min(1).max(128),
  by: nodeId,
  cmd: command,
});

const result = z.discriminatedUnion("ok", [
  z.strictObject({ ok: z.literal(true), changed: z.boolean() }),
  z.strictObject({ ok: z.literal(false), reason: z.string() }),
]);

const snapshot = z.strictObject({
  v: z.literal(COMMAND_VERSION),
  cluster: z.strictObject({
    members: z
      .array(
        z.strictObject({
          ...memberShape,
          state: z.enum(["joining", "active", "draining", "drained", "down", "removed"]),
          incarnation: whole,
          log: logName.exactOptional(),
          isDisabled: z.literal(true).exactOptional(),
          isWeightSet: z.literal(true).exactOptional(),
        }),
      )
      .max(255),
    table,
    quorum: quorum.exactOptional(),
    forced: z.strictObject({ epoch: whole, by: memberId }).exactOptional(),
    tokens: z
      .array(z.strictObject({ ...tokenShape, usedBy: memberId.exactOptional() }))
      .max(32)
      .exactOptional(),
    revision: whole,
  }),
  recent: z.array(z.strictObject({ id: z.string(), result })).max(4096),
});

/** All that is written into a log, for the test that a change of it raises STATE_VERSION. */
export const STATE_SCHEMAS = { envelope, snapshot } as const;

/** The checked content of a snapshot; machine.ts gives it meaning. */
export type SnapshotContent = Omit<z.infer<typeof snapshot>, "v">;

export function encodeEnvelope(value: Envelope): Uint8Array {
  return encode({ v: COMMAND_VERSION, ...value });
}

/** Never throws: a malformed entry is refused on every node alike. */
export function decodeEnvelope(bytes: Uint8Array): Decoded<Envelope> {
  const parsed = decode(bytes, COMMAND_BYTES_MAX, envelope, "command");
  if (!parsed.ok) return parsed;
  const { id, by, cmd } = parsed.value;
  return { ok: true, value: { id, by, cmd } };
}

export function encodeSnapshot(value: SnapshotContent): Uint8Array {
  return encode({ v: COMMAND_VERSION, ...value });
}

export function decodeSnapshot(bytes: Uint8Array): Decoded<SnapshotContent> {
  const parsed = decode(bytes, Number.POSITIVE_INFINITY, snapshot, "snapshot");
  if (!parsed.ok) return parsed;
  const { cluster, recent } = parsed.value;
  return { ok: true, value: { cluster, recent } };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

function encode(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

function decode<T>(bytes: Uint8Array, maxBytes: number, schema: z.ZodType<T>, what: string): Decoded<T> {
  if (bytes.length > maxBytes) {
    return { ok: false, reason: `malformed ${what}: ${bytes.length} bytes, at most ${maxBytes} are allowed` };
  }
  let json: unknown;
  try {
    json = JSON.parse(decoder.decode(bytes));
  } catch {
    return { ok: false, reason: `malformed ${what}: not JSON` };
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return { ok: true, value: parsed.data };
  const issue = parsed.error.issues[0];
  return {
    ok: false,
    reason: `malformed ${what}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`,
  };
}
