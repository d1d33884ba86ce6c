// Imports point one way:
//   base <- packet <- dataplane <- policy   and   base <- cluster   meet first in src/node; then <- chaos <- cli.
// scripts/check-imports.ts runs this, and fails when no module was read.

/** A rule that files under `from` import nothing of ours but what `to` allows. */
const onlyImports = (name, from, allowed) => ({
  name,
  severity: "error",
  from: { path: from },
  to: { path: "^(src|cluster|config|chaos|proto|bench)/", pathNot: [from, ...allowed] },
});

/** A package that one folder alone may use. */
const onlyUser = (name, pkg, users) => ({
  name,
  severity: "error",
  from: { path: "^(src|cluster|config|chaos)/", pathNot: users },
  to: { path: `node_modules/${pkg}` },
});

/** Files that hold types and constants of a seam may be read from above and beside. */
const SHARED_MODELS = "^src/base/";

module.exports = {
  forbidden: [
    {
      name: "no-circles",
      severity: "error",
      from: { pathNot: "^cluster/raft-ts/src/" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    onlyImports("base-imports-nothing", "^src/base/", []),
    onlyImports("packet-imports-base", "^src/packet/", [SHARED_MODELS]),
    onlyImports("dataplane-imports-packet-and-base", "^src/dataplane/", [
      SHARED_MODELS,
      "^src/packet/",
      "^cluster/ring/",
    ]),
    {
      name: "dataplane-never-imports-cluster",
      severity: "error",
      from: { path: "^src/dataplane/" },
      to: { path: "^cluster/(?!ring/)" },
    },
    {
      name: "cluster-never-imports-dataplane",
      severity: "error",
      from: { path: "^cluster/" },
      to: { path: "^src/(?!base/)" },
    },
    onlyImports("raft-ts-stands-alone", "^cluster/raft-ts/", []),
    onlyImports("policy-imports-models", "^src/policy/", [SHARED_MODELS, "^src/dataplane/policy-model.ts$"]),
    onlyImports("io-imports-base-and-packet", "^src/io/", [SHARED_MODELS, "^src/packet/", "^src/dataplane/"]),
    onlyImports("config-imports-policy", "^config/", [
      SHARED_MODELS,
      "^src/policy/",
      "^src/dataplane/policy-model.ts$",
      // What makes certificates right is judged once, by those who use them.
      "^cluster/(transport/tls|registration/authority).ts$",
    ]),
    {
      name: "only-cli-and-tests-import-chaos",
      severity: "error",
      from: { path: "^(src|cluster|config)/", pathNot: "^src/cli/(commands/)?(lab|drill)" },
      to: { path: "^chaos/" },
    },
    {
      name: "nothing-imports-cli",
      severity: "error",
      from: { path: "^(src|cluster|config)/", pathNot: "^src/cli/" },
      to: { path: "^src/cli/" },
    },
    onlyUser("only-transport-uses-grpc", "@grpc/", ["^cluster/transport/", "^proto/"]),
    onlyUser("only-io-uses-koffi", "koffi/", [
      "^src/io/",
      "^chaos/clients/http3-main",
      "^chaos/lab/hang-main",
    ]),
    onlyUser("only-io-uses-cap", "cap/", ["^src/io/"]),
    onlyUser("only-config-reads-yaml", "yaml/", ["^config/", "^chaos/lab/files"]),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: ["(^|/)dist/", "^cluster/raft-ts/test/"] },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "types", "default"],
      extensions: [".ts", ".js", ".json"],
    },
  },
};
