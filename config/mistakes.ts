/**
 * Mistakes: what is wrong with a configuration file, as one line each: file, line, field, value, fix.
 * Owns the wording around what the schema and the checks found, and the way from a field to its line.
 */
import { type Document, isMap, isPair, isSeq, type LineCounter, type Node } from "yaml";
import type { z } from "zod";

export type Path = readonly PropertyKey[];

export interface Mistake {
  readonly path: Path;
  /** "what is wrong: what to do". */
  readonly message: string;
}

const VALUE_TEXT_MAX = 60;

/** The mistakes that zod found. `raw` is the whole file as plain data, to quote values from. */
export function mistakesOf(error: z.ZodError, raw: unknown): Mistake[] {
  return error.issues.flatMap((issue) => mistakesOfIssue(issue, raw, []));
}

function mistakesOfIssue(issue: z.core.$ZodIssue, raw: unknown, above: Path): Mistake[] {
  const path = [...above, ...issue.path];
  const value = valueAt(raw, path);
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.message);
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: `unknown key: ${suggestion(key, known)}`,
    }));
  }
  if (issue.code === "invalid_key") {
    const need = issue.issues[0]?.message ?? issue.message;
    return [{ path, message: `${quote(path.at(-1))} is not usable here: write ${need}` }];
  }
  if (issue.code === "invalid_union") {
    const meant = meantOption(issue.errors);
    if (meant !== undefined) return meant.flatMap((inner) => mistakesOfIssue(inner, raw, path));
  }
  const split = splitAddress(value);
  if (split !== undefined) {
    return [{ path, message: `YAML takes the last colon of ${split} for a key: write "${split}" in quotes` }];
  }
  const message =
    value === undefined
      ? `is missing: add ${issue.message}`
      : `${quote(value)} does not fit: write ${issue.message}`;
  return [{ path, message }];
}

/** Of the kinds that a value may have, the only one whose own kind it is and that fails further in. */
function meantOption(
  options: readonly (readonly z.core.$ZodIssue[])[],
): readonly z.core.$ZodIssue[] | undefined {
  const deep = options.filter((issues) => issues.every(isOfItsKind));
  return deep.length === 1 ? deep[0] : undefined;
}

function isOfItsKind(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return true;
  if (issue.code === "invalid_union") return meantOption(issue.errors) !== undefined;
  return issue.code !== "invalid_type" && issue.code !== "invalid_value";
}

/** What `[2001:db8::]` is to YAML: a list with the mapping { "2001:db8:": null }. */
function splitAddress(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value);
  const [key, inner] = entries[0] ?? [];
  return entries.length === 1 && inner === null && key?.includes(":") ? `${key}:` : undefined;
}

/** One line of text: "fw1.yaml:12: zones.inside.trust: ...". */
export function formatMistake(file: string, line: number | undefined, mistake: Mistake): string {
  const where = line === undefined ? file : `${file}:${line}`;
  const field = formatPath(mistake.path);
  return `${where}: ${field === "" ? "" : `${field}: `}${mistake.message}`.replace(/\s*\n\s*/g, " ");
}

/** "rules[2].destinationPorts[0]". */
export function formatPath(path: Path): string {
  return path
    .map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? String(key) : `.${String(key)}`))
    .join("");
}

/** The line, from 1, of the deepest part of `path` that the file has. */
export function lineOf(document: Document, lines: LineCounter, path: Path): number | undefined {
  let node: unknown = document.contents;
  let offset: number | undefined = (document.contents as Node | null)?.range?.[0];
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && keyText(item.key) === String(key));
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      if (node === undefined) break;
      offset = (node as Node).range?.[0] ?? offset;
    } else {
      break;
    }
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

function keyText(key: unknown): string {
  return String((key as { value?: unknown } | null)?.value ?? key);
}

function valueAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function quote(value: unknown): string {
  const text = typeof value === "string" ? `"${value}"` : (JSON.stringify(value) ?? String(value));
  return text.length <= VALUE_TEXT_MAX ? text : `${text.slice(0, VALUE_TEXT_MAX)}...`;
}

/** The keys that fields.ts `mapping` puts into its message. */
function knownKeys(message: string): string[] {
  return message.replace(/^.*the keys /, "").split(", ");
}

function suggestion(key: string, known: readonly string[]): string {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(key.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ distance, candidate }) => distance <= Math.max(2, candidate.length / 3))
    .sort((a, b) => a.distance - b.distance);
  return best === undefined
    ? `remove it (known here: ${known.join(", ")})`
    : `remove it, or write ${best.candidate}`;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let k = 1; k <= b.length; k++) {
      const replaced = row[k - 1]! + (a[i - 1] === b[k - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[k]! + 1, next[k - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
