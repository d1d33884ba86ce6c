/**
 * Flows for tests of the defence: rows put into a table without an engine.
 */
import { type Address, addressWords } from "../../../../src/base/address.ts";
import {
  D_CREATED_AT,
  D_DEADLINE,
  F_ADDRESSES,
  F_DESTINATION,
  F_META,
  F_PLACE,
  F_PORTS,
  F_SOURCE,
  F_STATE,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../../../src/dataplane/flow-layout.ts";
import type { FlowTable } from "../../../../src/dataplane/flow-table.ts";

export interface TestFlow {
  readonly protocol?: number;
  readonly client?: Address;
  readonly clientPort?: number;
  readonly server?: Address;
  readonly serverPort?: number;
  /** FLAG_* bits. */
  readonly flags?: number;
  readonly state?: number;
  readonly slot?: number;
  readonly createdAtMs?: number;
}

/** Puts a flow without NAT into the table; its row. */
export function putFlow(table: FlowTable, flow: TestFlow): number {
  const row = table.alloc();
  if (row === NONE) throw new Error("the test's table is full");
  const { words, doubles } = table;
  const base = row * ROW_WORDS;
  const client = addressWords(flow.client ?? 0x0a000001);
  const server = addressWords(flow.server ?? 0xc6336464);
  for (let tuple = 0; tuple < 2; tuple++) {
    const [from, to] = tuple === 0 ? [client, server] : [server, client];
    words[base + tuple * REPLY_TUPLE + F_SOURCE] = from[3]!;
    words[base + tuple * REPLY_TUPLE + F_DESTINATION] = to[3]!;
    words.set(from.subarray(0, 3), base + F_ADDRESSES + tuple * 6);
    words.set(to.subarray(0, 3), base + F_ADDRESSES + tuple * 6 + 3);
  }
  const clientPort = flow.clientPort ?? 1024 + row;
  const serverPort = flow.serverPort ?? 80;
  words[base + F_PORTS] = (clientPort << 16) | serverPort;
  words[base + REPLY_TUPLE + F_PORTS] = (serverPort << 16) | clientPort;
  words[base + F_META] = (flow.protocol ?? 6) | (flow.flags ?? 0);
  words[base + F_PLACE] = flow.slot ?? 0;
  words[base + F_STATE] = flow.state ?? 0;
  doubles[row * ROW_DOUBLES + D_CREATED_AT] = flow.createdAtMs ?? 0;
  doubles[row * ROW_DOUBLES + D_DEADLINE] = (flow.createdAtMs ?? 0) + 10_000;
  table.wheel.start(Float64Array.of(0));
  table.insert(row);
  return row;
}
