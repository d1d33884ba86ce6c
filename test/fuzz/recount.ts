/** Recount: compares a flow table with what its index, lists and gauges say of it. Owns no rule of the table, only its arithmetic. */
import {
  D_DEADLINE,
  F_DIGEST,
  F_META,
  F_PLACE,
  F_PORTS,
  F_SLOT_NEXT,
  F_SLOT_PREVIOUS,
  FLAG_USED,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../src/dataplane/flow-layout.ts";
import { isSatellite } from "../../src/dataplane/satellites.ts";
import { type FuzzNode, ROWS, SLOTS } from "./node.ts";

const tuple = new Int32Array(8);

/** What is wrong with a node's table; "" when all agrees. */
export function wrongTable(node: FuzzNode): string {
  const { table } = node;
  const { words } = table;
  const counted = { used: 0, tcp: 0, udp: 0, icmp: 0, satellites: 0 };
  const bySlot = new Int32Array(SLOTS);
  for (let row = 0; row < ROWS; row++) {
    const meta = words[row * ROW_WORDS + F_META]!;
    if ((meta & FLAG_USED) === 0) continue;
    const protocol = meta & 0xff;
    counted.used++;
    if (protocol === 6) counted.tcp++;
    if (protocol === 17) counted.udp++;
    if (protocol === 1) counted.icmp++;
    if (isSatellite(protocol)) counted.satellites++;
    bySlot[words[row * ROW_WORDS + F_PLACE]! & 0xffff]!++;
    if (!Number.isFinite(table.doubles[row * ROW_DOUBLES + D_DEADLINE]!)) return "a row without a deadline";
    for (let way = 0; way < 2; way++) {
      table.address(row, way, 0, tuple, 0);
      table.address(row, way, 1, tuple, 4);
      const ports = words[row * ROW_WORDS + way * REPLY_TUPLE + F_PORTS]!;
      if (table.find(protocol, tuple, 0, ports) !== row * 2 + way) {
        return `row of protocol ${protocol} is not found by its tuple ${way}`;
      }
    }
  }
  if (counted.used !== table.used)
    return `${table.used} rows in use by the table's account, not ${counted.used}`;
  const gauges: [string, number, number][] = [
    ["flowsNow", node.count("flowsNow"), counted.used],
    ["flowsTcpNow", node.count("flowsTcpNow"), counted.tcp],
    ["flowsUdpNow", node.count("flowsUdpNow"), counted.udp],
    ["flowsIcmpNow", node.count("flowsIcmpNow"), counted.icmp],
    ["satellitesNow", node.count("satellitesNow"), counted.satellites],
  ];
  for (const [name, told, real] of gauges) if (told !== real) return `${name} is ${told}, not ${real}`;
  const ports = node.count("natPortsNow");
  if (ports < 0 || ports > counted.used) return `natPortsNow is ${ports} with ${counted.used} rows`;
  return wrongLists(node, bySlot);
}

function wrongLists(node: FuzzNode, bySlot: Int32Array): string {
  const { table } = node;
  const { words } = table;
  for (let slot = 0; slot < SLOTS; slot++) {
    let [rows, sum, previous] = [0, 0, NONE];
    for (let row = table.slotHead(slot); row !== NONE; row = words[row * ROW_WORDS + F_SLOT_NEXT]!) {
      if (words[row * ROW_WORDS + F_SLOT_PREVIOUS] !== previous) return `list of slot ${slot} is torn`;
      if (++rows > ROWS) return `list of slot ${slot} is a ring`;
      sum = (sum + words[row * ROW_WORDS + F_DIGEST]!) | 0;
      previous = row;
    }
    if (previous !== table.slotTail(slot)) return `list of slot ${slot} has a wrong end`;
    if (rows !== table.slotCount(slot) || rows !== bySlot[slot]) return `slot ${slot} counts wrong`;
    if (sum !== table.slotSum(slot)) return `digest of slot ${slot} is not the sum of its rows`;
  }
  return "";
}
