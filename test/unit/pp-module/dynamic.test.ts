/**
 * FFW_RUL_EXT.2.1: connections that a protocol announces: they get in once, from the announced end, and not after the session.
 */
import { describe, expect, test } from "vitest";
import { HELPER_FTP } from "../../../src/dataplane/policy-model.ts";
import { tcp } from "../dataplane/frames.ts";
import { PORT_OUTSIDE, type World } from "../dataplane/world.ts";
import { Connection, FAMILIES, type Family, OUTWARD, rules, verdict, world } from "./families.ts";

const DATA_PORT = 50_000;

/** An FTP session whose client announced a port, with a rule that has the helper or not. */
function announced(
  family: Family,
  helpers = HELPER_FTP,
): { firewall: World; control: Connection; end: number } {
  const firewall = world({ rules: rules({ ...OUTWARD, helpers }) });
  const control = new Connection(firewall, family, 5000, 21).open();
  const line = Buffer.from(`EPRT |${family.isIpv6 ? 2 : 1}|${family.client}|${DATA_PORT}|\r\n`, "latin1");
  expect(control.client("PA", 101, 901, Uint8Array.from(line))).toBe("forwarded");
  expect(control.server("A", 901, 101 + line.length)).toBe("forwarded");
  return { firewall, control, end: 101 + line.length };
}

/** The verdict of a SYN of the server to the announced port. */
function knock(firewall: World, family: Family, from = family.server, seq = 7): string {
  const data = { from, to: family.client, sport: 20, dport: DATA_PORT, flags: "S", seq };
  return verdict(firewall, tcp(data), PORT_OUTSIDE);
}

describe.each(FAMILIES)("$name", (family) => {
  test("FFW_RUL_EXT.2.1 a dynamic port opens for who was announced, and for nobody without the helper", () => {
    expect(knock(announced(family).firewall, family)).toBe("forwarded");
    expect(knock(announced(family).firewall, family, family.server2)).toBe("denied");
    expect(knock(announced(family, 0).firewall, family)).toBe("denied");
  });

  test("FFW_RUL_EXT.2.1 a dynamic port closes when its data session ends", () => {
    const { firewall } = announced(family);
    knock(firewall, family);
    const reset = {
      from: family.client,
      to: family.server,
      sport: DATA_PORT,
      dport: 20,
      flags: "RA",
      seq: 0,
      ack: 8,
    };
    expect(verdict(firewall, tcp(reset))).toBe("forwarded");
    expect(knock(firewall, family, family.server, 99)).toBe("denied");
  });

  test("FFW_RUL_EXT.2.1 a dynamic port that nobody used closes when the control session ends", () => {
    const { firewall, control, end } = announced(family);
    expect(control.client("R", end)).toBe("forwarded");
    firewall.tick(10_000);
    expect(knock(firewall, family)).toBe("denied");
  });

  test("FFW_RUL_EXT.2.1 a dynamic port that nobody used closes by itself", () => {
    const { firewall } = announced(family);
    firewall.nowMs += 600_000;
    expect(knock(firewall, family)).toBe("denied");
  });
});
