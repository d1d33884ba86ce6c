import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { adminCall } from "../../../src/cli/admin-client.ts";
import { chooseSocket } from "../../../src/cli/socket.ts";
import { Site } from "../config/site.ts";
import { PAIR, run, withAdmin } from "./admin.ts";

const site = new Site(["fw1", "witness"]);
afterAll(() => site.remove());

describe("synwall", () => {
  test("--version prints the package's version", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT_DIRECTORY, "package.json"), "utf8")) as {
      version: string;
    };
    expect(await run("--version")).toEqual({ status: 0, out: `${version}\n`, err: "" });
  });

  test("--help gives examples and every command", async () => {
    const { status, out } = await run("--help");
    expect(status).toBe(0);
    for (const word of [
      "node",
      "witness",
      "check",
      "status",
      "flows",
      "drain",
      "rejoin",
      "journal",
      "lag",
      "trace",
      "replay",
      "lab",
      "drill",
      "Examples:",
    ]) {
      expect(out).toContain(word);
    }
  });

  test.each([
    [["nod"]],
    [["status", "--jsn"]],
    [["drain"]],
    [["flows", "list", "--port", "x"]],
    [["journal", "--since", "5"]],
    [[]],
  ])("%j is wrong: exit status 2", async (args) => {
    const { status, out, err } = await run(...args);
    expect([status, out]).toEqual([2, ""]);
    expect(err).not.toBe("");
  });
});

describe("lab and drill", () => {
  test.each(["lab", "drill"])("%s --help comes from its own file, on the same terminal", async (command) => {
    const { status, out, err } = await run(command, "--help");
    expect([status, err]).toEqual([0, ""]);
    expect(out).toContain(`Usage: synwall ${command}`);
    expect(out).toMatch(command === "lab" ? /^ {2}up /m : /^ {2}run /m);
  });

  test.each([
    ["in no folder", "/nowhere/report.html", "ENOENT"],
    ["a folder", "/", "EISDIR"],
  ])("a report that is %s is refused before a lab is built, in one line", async (_what, path, code) => {
    const { status, out, err } = await run("lab", "demo", "--report", path);
    expect([status, out]).toEqual([2, ""]);
    expect(err).toBe(
      `synwall: --report ${path}: cannot write there (${code}): name a file in a folder that exists and may be written\n`,
    );
  });

  test("a drill without a lab is one line and exit status 2", async () => {
    const { status, err } = await run("drill", "run", "nonsense");
    expect(status).toBe(2);
    expect(err.trim().split("\n")).toHaveLength(1);
  });
});

describe("check", () => {
  test("says what a right file holds, and finds the role by itself", async () => {
    const node = site.configure("fw1");
    expect(await run("check", "--config", node)).toEqual({
      status: 0,
      out: `${node}: right. node fw1 of cluster edge: 2 nodes and a witness; zones dmz, inside, outside; 6 rules.\n`,
      err: "",
    });
    const witness = await run("check", "--config", site.configure("witness"), "--json");
    expect(JSON.parse(witness.out)).toMatchObject({ isRight: true, role: "witness", member: "witness" });
  });

  test("a mistake is one line on standard error and exit status 2", async () => {
    const { status, out, err } = await run(
      "check",
      "--config",
      site.configure("fw1", { "trust: 100": "trsut: 100" }),
    );
    expect([status, out]).toEqual([2, ""]);
    expect(
      err
        .split("\n")
        .filter((line) => line !== "")
        .every((line) => /^synwall: \/.*fw1.yaml:\d+: zones.inside/.test(line)),
    ).toBe(true);
  });

  test("a missing file is exit status 2", async () => {
    expect((await run("check", "--config", "/nowhere/fw1.yaml")).status).toBe(2);
  });
});

describe("a node's configuration", () => {
  test.each(["node", "witness"])("%s does not start on a wrong file", async (command) => {
    const { status, err } = await run(command, "--config", site.write("bad.yaml", "clutser: {}\n"));
    expect(status).toBe(2);
    expect(err).toContain("bad.yaml:1: clutser: unknown key: remove it, or write cluster");
  });
});

describe("adminCall()", () => {
  test("answers the result", async () => {
    await withAdmin({ status: () => PAIR }, async (socket) => {
      expect(await adminCall(socket, "status", {})).toEqual(PAIR);
    });
  });

  test("joins an answer that comes in many pieces", async () => {
    const events = Array.from({ length: 4000 }, (_, i) => ({
      atMs: i,
      wallMs: i,
      kind: "stall" as const,
      epoch: 1,
      node: 0,
      slots: [],
      text: "x".repeat(100),
    }));
    await withAdmin({ journal: () => ({ nowMs: 1, events }) }, async (socket) => {
      expect((await adminCall(socket, "journal", {})).events).toHaveLength(4000);
    });
  });

  test("raises the code that the node answered with", async () => {
    await withAdmin({}, async (socket) => {
      await expect(adminCall(socket, "status", {})).rejects.toMatchObject({ code: "SW_ADMIN_BAD_REQUEST" });
    });
  });

  test("says what to do when there is no socket", async () => {
    await expect(adminCall(site.path("absent.sock"), "status", {})).rejects.toMatchObject({
      code: "SW_ADMIN_UNREACHABLE",
      message: expect.stringContaining("there is no such socket: start the node"),
    });
  });

  test("says so when the node closes the connection, or does not answer in time", async () => {
    const path = site.path("mute.sock");
    let isClosing = true;
    const server = createServer((socket) => (isClosing ? socket.destroy() : undefined)).listen(path);
    await new Promise((resolve) => server.once("listening", resolve));
    await expect(adminCall(path, "status", {})).rejects.toMatchObject({ code: "SW_ADMIN_UNREACHABLE" });
    isClosing = false;
    await expect(adminCall(path, "status", {}, { timeoutMs: 1 })).rejects.toThrow(
      /no answer to status within 0.001 s/,
    );
    server.close();
  });
});

describe("chooseSocket()", () => {
  test("prefers the option, then the environment, then the only one", () => {
    expect(chooseSocket("/a", "/b", ["/c"])).toBe("/a");
    expect(chooseSocket(undefined, "/b", ["/c"])).toBe("/b");
    expect(chooseSocket(undefined, undefined, ["/c"])).toBe("/c");
  });

  test("refuses to guess", () => {
    expect(() => chooseSocket(undefined, undefined, [])).toThrow(/start a node here/);
    expect(() =>
      chooseSocket(undefined, undefined, ["/run/synwall/fw1.sock", "/run/synwall/fw2.sock"]),
    ).toThrow(/\(fw1, fw2\)/);
  });
});
