import { describe, expect, test } from "vitest";
import { echo, icmpError, see, seeIp, tcp, udp } from "./frames.ts";
import { DUAL_POLICY, PORT_INSIDE, PORT_OUTSIDE, type Sent, verdictName, World } from "./world.ts";

const CLIENT = "10.10.0.2";
const GONE = "198.51.100.77";
const CLIENT6 = "2001:db8:10::2";
const GONE6 = "2001:db8:f::77";

/** Time for all probes of a neighbour, and a little more. */
function waitForProbes(world: World): void {
  for (let i = 0; i < 180; i++) world.tick(10);
}

/** The ICMP errors that left since the last call. */
function errors(world: World): Sent[] {
  const isError = ({ frame }: Sent): boolean => [1, 3].includes(see(frame).ip?.icmpType ?? -1);
  return world.take().filter(isError);
}

/** The IP packet that an error quotes. */
function quoted(frame: Uint8Array) {
  return seeIp(see(frame).ip!.body.subarray(8));
}

describe("a neighbour that does not answer", () => {
  test("is told to the sender, who sees the packet that it sent (RFC 1812 section 5.2.7.1)", () => {
    const world = new World({ policy: DUAL_POLICY, silent: [GONE] });
    const packet = udp({ from: CLIENT, to: GONE, sport: 4000, dport: 53 });
    expect(verdictName(world.packet(PORT_INSIDE, packet))).toBe("held");
    waitForProbes(world);
    const [{ port, frame }, ...others] = errors(world) as [Sent, ...Sent[]];
    expect(others).toEqual([]);
    expect(port).toBe(PORT_INSIDE);
    expect(see(frame).ip).toMatchObject({ to: CLIENT, icmpType: 3, icmpCode: 1, bodyOk: true });
    expect(quoted(frame)).toMatchObject({ from: CLIENT, to: GONE, sport: 4000, dport: 53 });
    expect(world.lost()).toBe(0);
  });

  test("and so over IPv6, as an address that cannot be reached (RFC 4443 section 3.1)", () => {
    const world = new World({ policy: DUAL_POLICY, silent: [GONE6] });
    world.packet(PORT_INSIDE, tcp({ from: CLIENT6, to: GONE6, sport: 4000, dport: 80, flags: "S" }));
    waitForProbes(world);
    const [{ port, frame }, ...others] = errors(world) as [Sent, ...Sent[]];
    expect(others).toEqual([]);
    expect(port).toBe(PORT_INSIDE);
    expect(see(frame).ip).toMatchObject({ to: CLIENT6, icmpType: 1, icmpCode: 3, bodyOk: true });
    expect(world.lost()).toBe(0);
  });

  test("of a forwarded port is shown by the address that the client knows", () => {
    const world = new World({ policy: DUAL_POLICY, silent: ["10.10.0.250"] });
    const call = { from: "198.51.100.50", to: "198.51.100.10", sport: 7000, dport: 8080 };
    world.packet(PORT_OUTSIDE, tcp({ ...call, flags: "S" }));
    waitForProbes(world);
    const [{ frame }] = errors(world) as [Sent];
    expect(see(frame).ip).toMatchObject({ from: "198.51.100.10", to: call.from, icmpType: 3, icmpCode: 1 });
    expect(quoted(frame)).toMatchObject(call);
  });

  test("is told at once of while it is known not to answer, but not more often than errors may be sent", () => {
    const world = new World({
      policy: DUAL_POLICY,
      silent: [GONE],
      limits: { icmpErrorsPerSecond: 4 },
    });
    const send = (sport: number): string =>
      verdictName(world.packet(PORT_INSIDE, udp({ from: CLIENT, to: GONE, sport, dport: 53 })));
    send(1);
    waitForProbes(world);
    world.take();
    for (let sport = 2; sport < 42; sport++) expect(send(sport)).toBe("no_neighbour");
    world.tick();
    const told = errors(world);
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThanOrEqual(4);
    expect(world.lost()).toBe(0);
  });

  test("is not told about errors, nor to those who never had a flow (RFC 1122 section 3.2.2)", () => {
    const world = new World({ policy: DUAL_POLICY, silent: [CLIENT] });
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: "198.51.100.50", id: 3 }));
    const request = world.takeOne().frame.subarray(14);
    const to = seeIp(request).from;
    world.packet(PORT_OUTSIDE, icmpError({ from: "198.51.100.50", to }, 3, 1, request));
    waitForProbes(world);
    expect(errors(world)).toEqual([]);
    expect(world.lost()).toBe(0);
  });
});
