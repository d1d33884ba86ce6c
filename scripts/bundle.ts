/**
 * Bundle: one file out of a module and all that it imports, constants folded in; docs/adr/0041-the-worker-is-one-module.md says why. Owns how
 * that is done; `tsx scripts/bundle.ts` does it to the dataplane worker in dist/, as the last step of the build.
 */
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";
import { ROOT_DIRECTORY } from "../config/version.ts";

/** They load native code by paths of their own. */
const EXTERNAL = ["koffi", "cap"];

/** Writes `outfile`: `entry` as one module. Both are paths in the checkout. */
export async function bundle(entry: string, outfile: string): Promise<void> {
  await build({
    entryPoints: [join(ROOT_DIRECTORY, entry)],
    outfile: join(ROOT_DIRECTORY, outfile),
    allowOverwrite: true,
    bundle: true,
    // Folds constants, also those of other modules; names stay, so that stack traces can be read.
    minifySyntax: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: EXTERNAL,
    // CommonJS packages inside the bundle ask for Node's own modules.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    plugins: [keepPlaces(dirname(join(ROOT_DIRECTORY, outfile)))],
    logLevel: "warning",
  });
}

/** A module that looks for files beside itself finds them from inside the bundle too. */
function keepPlaces(outDirectory: string): Plugin {
  return {
    name: "keep-places",
    setup({ onLoad }) {
      onLoad({ filter: /\.[jt]s$/ }, async ({ path }) => {
        const source = await readFile(path, "utf8");
        if (path.includes("node_modules") || !source.includes("import.meta.url")) return undefined;
        const place = `new URL(${JSON.stringify(relative(outDirectory, path))}, import.meta.url).href`;
        return {
          contents: source.replaceAll("import.meta.url", place),
          loader: path.endsWith(".ts") ? "ts" : "js",
        };
      });
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await bundle("dist/src/node/worker.js", "dist/src/node/worker.js");
}
