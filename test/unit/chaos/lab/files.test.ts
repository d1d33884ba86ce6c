import { expect, test } from "vitest";
import { parse } from "yaml";
import { memberYaml, newcomerFiles, newcomerYaml, returnerYaml } from "../../../../chaos/lab/files.ts";
import { labPaths } from "../../../../chaos/lab/state.ts";
import { freeNode, type LabOptions, mtuOf, planTopology } from "../../../../chaos/lab/topology.ts";
import { checkCluster } from "../../../../config/check.ts";
import { nodeSchema, witnessSchema } from "../../../../config/schema.ts";
import { checkStore } from "../../../../config/store.ts";
import { redirectBytes } from "../../../../src/dataplane/redirect.ts";

const options: LabOptions = { name: "lab", nodes: 8, hasWitness: true, port: "cap", profile: "vm" };
const topology = planTopology(options);
const paths = labPaths("lab", { uid: 0, isUserNamespace: false });

test.each(topology.members)("memberYaml() of $name is a configuration that the schema accepts", (member) => {
  const parsed = parse(memberYaml(options, topology, member, paths));
  const file = (member.role === "node" ? nodeSchema : witnessSchema).parse(parsed);
  expect(checkCluster(file as Parameters<typeof checkCluster>[0], member.role)).toEqual([]);
  expect(file.cluster.node).toBe(member.name);
  expect(file.cluster.members).toHaveLength(9);
  expect(file.cluster.profile).toBe("vm");
});

test("memberYaml() of a node names the driver that was asked for, and the witness has no dataplane", () => {
  const [node, witness] = [topology.members[0]!, topology.members.at(-1)!].map((member) =>
    parse(memberYaml(options, topology, member, paths)),
  );
  expect(node.dataplane.driver).toBe("cap");
  expect(witness).not.toHaveProperty("dataplane");
});

test("nodes of a lab may let others in, the witness may not", () => {
  const keys = topology.members.map(
    (member) => parse(memberYaml(options, topology, member, paths)).cluster.tls.caKey,
  );
  expect(keys).toEqual([...Array(8).fill(paths.caKey), undefined]);
});

test("newcomerYaml() lists nobody, and has its files for itself, as on a machine of its own", () => {
  const few = planTopology({ ...options, nodes: 2 });
  const newcomer = freeNode(few.members);
  const parsed = parse(newcomerYaml(options, few, newcomer, paths));
  const { cluster } = nodeSchema.parse(parsed);
  expect(cluster.members).toBeUndefined();
  expect(cluster.node).toBe("fw3");
  const { secretFile, ...tls } = newcomerFiles(paths, "fw3");
  expect(cluster.tls).toMatchObject(tls);
  expect(cluster.secretFile).toBe(secretFile);
  expect([paths.ca, paths.secret, paths.caKey]).not.toContain(tls.ca);
});

test("returnerYaml() of a node whose disk was lost is a newcomer's, which may let others in with a copy of the CA's key", () => {
  const few = planTopology({ ...options, nodes: 2 });
  const [node] = few.members;
  const { cluster } = nodeSchema.parse(parse(returnerYaml(options, few, node!, paths)));
  expect(cluster.members).toBeUndefined();
  expect(cluster.node).toBe("fw1");
  expect(cluster.tls.caKey).toBe(paths.ownCaKey("fw1"));
  const { tls } = nodeSchema.parse(parse(newcomerYaml(options, few, node!, paths))).cluster;
  expect(cluster.tls).toEqual({ ...tls, caKey: paths.ownCaKey("fw1") });
});

test("a sealed lab's nodes seal what they redirect and take nothing in clear, those that join later too, and its cluster link holds that", () => {
  const sealed: LabOptions = { ...options, nodes: 2, isSealed: true };
  const planned = planTopology(sealed);
  const [node, , witness] = planned.members;
  const newcomer = freeNode(planned.members);
  for (const yaml of [
    memberYaml(sealed, planned, node!, paths),
    newcomerYaml(sealed, planned, newcomer, paths),
    returnerYaml(sealed, planned, node!, paths),
  ]) {
    expect(nodeSchema.parse(parse(yaml)).dataplane.sealRedirects).toBe("always");
  }
  expect(parse(memberYaml(sealed, planned, witness!, paths))).not.toHaveProperty("dataplane");
  expect(mtuOf("cluster")).toBeGreaterThanOrEqual(mtuOf("inside") + redirectBytes(true));
  const open = nodeSchema.parse(parse(memberYaml(options, topology, node!, paths)));
  expect(open.dataplane.sealRedirects).toBe("never");
});

test("with etcd nodes find it by TLS with the lab's CA, and two of them are no pair: the store votes", () => {
  const stored: LabOptions = { ...options, nodes: 2, hasWitness: false, store: "etcd" };
  const planned = planTopology(stored);
  const file = nodeSchema.parse(parse(memberYaml(stored, planned, planned.members[0]!, paths)));
  expect(file.control).toMatchObject({
    store: "etcd",
    etcd: { endpoints: ["https://192.0.2.200:2379"], tls: { ca: paths.ca } },
  });
  const content = file as Parameters<typeof checkCluster>[0];
  expect([...checkCluster(content, "node"), ...checkStore(content)]).toEqual([]);
  expect(file.cluster.quorum.mode).toBe("majority");
  const { store: _store, ...alone } = stored;
  const pair = nodeSchema.parse(parse(memberYaml(alone, planned, planned.members[0]!, paths)));
  expect(pair.cluster.quorum.mode).toBe("pair");
});
