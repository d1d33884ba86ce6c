import { expect, test } from "vitest";
import { whyOtherStore } from "../../../../cluster/registration/store-claim.ts";

const CLUSTER = { prefix: "/synwall", log: "0123456789abcdef", place: "https://192.0.2.21:2379" };

test("the same log under the same prefix is the same store", () => {
  expect(whyOtherStore(CLUSTER, { prefix: "/synwall", log: "0123456789abcdef" })).toBeUndefined();
});

test.each([
  ["another prefix", { prefix: "/site", log: "" }, /^control\.etcd\.prefix: .*: set it to \/synwall; /],
  ["no log", { prefix: "/synwall", log: "" }, /^control\.etcd\.endpoints: .* at https:.* there is no log /],
  ["another log", { prefix: "/synwall", log: "ff" }, /^control\.etcd\.endpoints: .* there is another log /],
  ["a build without stores", undefined, /^control\.store: .*: install the build that the cluster runs; /],
])("%s is refused with field, value and fix, and the token stays unused", (_what, claim, line) => {
  const why = whyOtherStore(CLUSTER, claim);
  expect(why).toMatch(line);
  expect(why).toMatch(/; the token is still unused$/);
  expect(why).not.toContain("\n");
});
