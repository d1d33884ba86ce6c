import { expect, test } from "vitest";
import { parse } from "yaml";
import { memberYaml } from "../../../../chaos/lab/files.ts";
import { labPaths } from "../../../../chaos/lab/state.ts";
import { type LabOptions, planTopology } from "../../../../chaos/lab/topology.ts";
import { checkCluster } from "../../../../config/check.ts";
import { nodeSchema, witnessSchema } from "../../../../config/schema.ts";

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
