/**
 * The examples are the reference of the configuration: every key of the schema stands in one, where it belongs.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { parseNodeConfig } from "../../../config/load.ts";
import { nodeSchema, witnessSchema } from "../../../config/schema.ts";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../../src/policy/timeouts.ts";
import { type Example, exampleText, Site } from "./site.ts";

let site: Site;
beforeAll(() => {
  site = new Site();
});
afterAll(() => site.remove());

/** Paths of all keys below a type, as "rules[].name"; keys of the operator's own (zone names) are "*". */
function keysOf(type: z.core.$ZodType, path = ""): string[] {
  if (type instanceof z.ZodObject) {
    return Object.entries(type.shape).flatMap(([key, value]) => {
      const below = path === "" ? key : `${path}.${key}`;
      return [below, ...keysOf(value as z.core.$ZodType, below)];
    });
  }
  if (type instanceof z.ZodArray) return keysOf(type.element, `${path}[]`);
  if (type instanceof z.ZodRecord) return keysOf(type.valueType, `${path}.*`);
  if (type instanceof z.ZodUnion) return [...new Set(type.options.flatMap((option) => keysOf(option, path)))];
  if (type instanceof z.ZodPipe) return keysOf(type.in, path);
  if (type instanceof z.ZodOptional || type instanceof z.ZodDefault || type instanceof z.ZodPrefault) {
    return keysOf(type.unwrap(), path);
  }
  return [];
}

/** Whether a document says something at a path of keysOf(). */
function has(value: unknown, path: string): boolean {
  const [, head = "", rest = ""] = /^(\[\]|[^.[]+)\.?(.*)$/.exec(path) ?? [];
  if (path === "") return true;
  if (head === "[]") return Array.isArray(value) && value.some((entry) => has(entry, rest));
  if (typeof value !== "object" || value === null) return false;
  if (head === "*") return Object.values(value).some((entry) => has(entry, rest));
  return Object.hasOwn(value, head) && has((value as Record<string, unknown>)[head], rest);
}

const POLICY_PAGE = readFileSync(join(ROOT_DIRECTORY, "docs/policy.md"), "utf8");
const BLOCK = /^```\n([\s\S]*?)^```$/gm;

describe("docs/policy.md", () => {
  test("explains every key of a policy", () => {
    const spans = [...POLICY_PAGE.replaceAll(BLOCK, "").matchAll(/`([^`]+)`/g)]
      .map((match) => match[1])
      .join(" ");
    const words = new Set(spans.split(/[^A-Za-z0-9]+/));
    const own =
      /^(dataplane\.interfaces|zones|addressSets|serviceSets|routes|nat|rules|protection|fragments)\b/;
    const keys = keysOf(nodeSchema).filter((key) => own.test(key) && !key.endsWith("*"));
    expect(keys.length).toBeGreaterThan(80);
    expect(keys.filter((key) => !words.has(/(\w+)[[\].*]*$/.exec(key)![1]!))).toEqual([]);
  });

  // Examples leave out what they are not about.
  const base = {
    cluster: {
      name: "edge",
      node: "fw1",
      secretFile: "/secret",
      members: [{ id: 1, name: "fw1", role: "node", address: "192.0.2.1" }],
      tls: { ca: "/ca", cert: "/cert", key: "/key" },
    },
    dataplane: {
      interfaces: [
        { name: "eth1", zone: "inside" },
        { name: "eth2", zone: "outside" },
        { name: "eth3", cluster: true },
      ],
    },
  };
  const zones = {
    inside: { trust: 100, gateway: "10.10.0.1/24" },
    outside: { trust: 0, gateway: "198.51.100.1/24" },
  };
  const examples = [...POLICY_PAGE.matchAll(BLOCK)].map((match) => match[1]!);

  test.each(examples.map((text, i) => [i + 1, text]))("its example %i is right", (_i, text) => {
    const document = parse(text as string) as { zones?: object };
    const whole = { ...base, ...document, zones: { ...zones, ...document.zones } };
    const secret = new Uint8Array(32);
    const config = parseNodeConfig(stringify(whole), "node", { name: "policy.md", secret });
    expect(config.dataplane?.policy.zones).toHaveLength(2);
  });

  test("has examples", () => expect(examples.length).toBeGreaterThan(5));
});

describe("the examples", () => {
  test.each<[Example, z.ZodType]>([
    ["fw1", nodeSchema],
    ["fw2", nodeSchema],
    ["witness", witnessSchema],
  ])("%s shows every key that its member may have", (name, schema) => {
    const document: unknown = parse(exampleText(name));
    const keys = keysOf(schema);
    expect(keys.length).toBeGreaterThan(20);
    // A witness has no dataplane, to which affinity belongs. A rule's service has the keys of a set's service.
    // Keys of etcd are wrong where etcd is not used: docs/deploy.md has them.
    const shown = keys
      .filter((key) => !key.startsWith("control.etcd"))
      .map((key) => key.replace("rules[].services[]", "serviceSets.*[]"));
    const missing = shown.filter(
      (key) => !has(document, key) && !(name === "witness" && key === "cluster.affinity"),
    );
    expect(missing).toEqual([]);
  });

  test("docs/deploy.md shows every key of an etcd, in a block that is right", () => {
    const page = readFileSync(join(ROOT_DIRECTORY, "docs/deploy.md"), "utf8");
    const block = [...page.matchAll(BLOCK)]
      .map((match) => match[1]!)
      .find((text) => text.includes("store: etcd"))!;
    const document = parse(block) as { control: object };
    const keys = keysOf(nodeSchema).filter((key) => key.startsWith("control.etcd"));
    expect(keys.filter((key) => !has(document, key))).toEqual([]);
    const whole = parse(exampleText("fw1")) as { control: object };
    const text = stringify({ ...whole, control: { ...whole.control, ...document.control } });
    const config = parseNodeConfig(text, "node", { name: "deploy.md", secret: new Uint8Array(32) });
    expect(config.control.etcd?.endpoints).toHaveLength(3);
  });

  test("the keys of the schema are found where they are", () => {
    const keys = keysOf(nodeSchema);
    for (const key of [
      "cluster.members[].weight",
      "zones.*.trust",
      "nat.snat[].sources",
      "rules[].icmpCode",
    ]) {
      expect(keys).toContain(key);
    }
    expect(keys.filter((key) => key.startsWith("flows.timeouts."))).toHaveLength(
      Object.keys(DEFAULT_TIMEOUTS_MS).length,
    );
    expect(has(parse("rules: [{ name: a }, { name: b, log: true }]"), "rules[].log")).toBe(true);
    expect(has(parse("rules: [{ name: a }]"), "rules[].log")).toBe(false);
  });

  test("say the time-outs that hold without them", () => {
    expect(site.load("fw1").dataplane?.policy.timeoutsMs).toEqual(DEFAULT_TIMEOUTS_MS);
  });

  test("say the limits and router advertisements that hold without them", () => {
    const text = exampleText("fw1");
    const section = (from: string, to: string): string => text.slice(text.indexOf(from), text.indexOf(to));
    const { policy } = site.load("fw1").dataplane!;
    const bare = site.load("fw1", {
      [section("protection:", "fragments:")]: "",
      [section("fragments:", "flows:")]: "",
      [section("    advertise:", "  outside:")]: "    advertise: {}\n",
    }).dataplane!.policy;
    expect([bare.protection, bare.fragments]).toEqual([policy.protection, policy.fragments]);
    expect(bare.zones).toEqual(policy.zones);
    expect(bare.zones.find((zone) => zone.name === "inside")?.ipv6?.advertise).toBeDefined();
  });
});
