import { describe, expect, test } from "vitest";
import { icmpTypeNumber, parseIcmpType } from "../../../src/policy/icmp-types.ts";
import { compileSchedule, formatSchedule, parseDays, parseTimeOfDay } from "../../../src/policy/schedule.ts";
import { compileTcpFlags, formatTcpFlags } from "../../../src/policy/tcp-flags.ts";

describe("schedules", () => {
  test("days are bits from Sunday on, also over the end of the week", () => {
    expect(["sun", "sat", "mon-fri", "sat-mon", "wed-wed"].map(parseDays)).toEqual([1, 64, 62, 67, 8]);
  });

  test.each(["", "monday", "mon-", "-mon", "mon-tue-wed", "Mon", "mon,tue"])("%j is no day", (text) =>
    expect(parseDays(text)).toBeUndefined(),
  );

  test("times of the day are minutes up to 24:00", () => {
    expect(["00:00", "08:30", "23:59", "24:00"].map(parseTimeOfDay)).toEqual([0, 510, 1439, 1440]);
  });

  test.each(["24:01", "8:30", "08:60", "25:00", "08:30:00", "0830", ""])("%j is no time of the day", (text) =>
    expect(parseTimeOfDay(text)).toBeUndefined(),
  );

  test("days that are not named are all, and times that are not named the whole day", () => {
    expect(compileSchedule({ days: [] })).toEqual({ days: 127, fromMinute: 0, toMinute: 1440 });
    expect(formatSchedule(compileSchedule({ days: [2, 64], from: 1320, to: 300 }))).toBe(
      "mon sat 22:00-05:00 UTC",
    );
  });
});

test("TCP flags have the bits of the header (RFC 9293 section 3.1)", () => {
  expect(compileTcpFlags({ set: ["syn"], clear: ["ack", "rst"] })).toEqual({ mask: 0x16, value: 0x02 });
  expect(compileTcpFlags({ set: ["fin", "cwr"], clear: [] })).toEqual({ mask: 0x81, value: 0x81 });
  expect(formatTcpFlags({ mask: 0x16, value: 0x02 })).toBe("syn, not rst ack");
});

test("an ICMP type's number is that of its protocol (RFC 792, RFC 4443)", () => {
  const [icmp, icmpv6] = [1, 58];
  expect([icmpTypeNumber(icmp, "echo-request"), icmpTypeNumber(icmpv6, "echo-request")]).toEqual([8, 128]);
  expect([icmpTypeNumber(icmp, "packet-too-big"), icmpTypeNumber(icmpv6, "packet-too-big")]).toEqual([
    undefined,
    2,
  ]);
  expect(icmpTypeNumber(icmp, 77)).toBe(77);
  expect(["toString", 256, -1, 1.5, "ping"].map(parseIcmpType)).toEqual(new Array(5).fill(undefined));
});
