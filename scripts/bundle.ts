/**
 * Bundle: one file out of a module and all that it imports, constants folded in; docs/adr/0041-the-worker-is-one-module.md says why. Owns how
 * that is done, and the build's name; `tsx scripts/bundle.ts` does both to dist/, as the last step of the build.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";
import { ROOT_DIRECTORY } from "../config/version.ts";

const BUILD_DIGITS = 12;
/** They load native code by paths of their own. */
const EXTERNAL = ["koffi", "cap"];

/** Writes dist/build.json: a name for the build, the same wherever the same sources are built. */
async function nameBuild(directory: string): Promise<void> {
  const names = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith(".js")).sort();
  const hash = createHash("sha256");
  for (const name of names) hash.update(`${name}\n`).update(await readFile(join(directory, name)));
  const build = hash.digest("hex").slice(0, BUILD_DIGITS);
  await writeFile(join(directory, "build.json"), `${JSON.stringify({ build })}\n`);
}

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
  await nameBuild(join(ROOT_DIRECTORY, "dist"));
}
