/**
 * Steps: what a fuzzed pair of engines is put through, as plain data, and its form as text, one step a line. A list of steps
 * says all that is needed to go the same way again.
 */

export type Step =
  | { readonly op: "frame"; readonly node: number; readonly port: number; readonly bytes: Uint8Array }
  | { readonly op: "tick"; readonly ms: number }
  | { readonly op: "policy"; readonly index: number }
  | { readonly op: "own"; readonly pattern: number }
  | { readonly op: "lease"; readonly node: number; readonly isValid: boolean }
  | { readonly op: "replicate" }
  /** Replication whose records are damaged, repeated and lost: records.ts. */
  | { readonly op: "forge"; readonly seed: number }
  /** All records under way are lost, and another pattern of ownership holds. */
  | { readonly op: "takeover"; readonly pattern: number }
  /** The owner of a slot sends it whole. */
  | { readonly op: "export"; readonly slot: number };

export function stepText(step: Step): string {
  switch (step.op) {
    case "frame":
      return `frame ${step.node} ${step.port} ${Buffer.from(step.bytes).toString("hex")}`;
    case "tick":
      return `tick ${step.ms}`;
    case "policy":
      return `policy ${step.index}`;
    case "own":
      return `own ${step.pattern}`;
    case "lease":
      return `lease ${step.node} ${step.isValid ? 1 : 0}`;
    case "forge":
      return `forge ${step.seed}`;
    case "takeover":
      return `takeover ${step.pattern}`;
    case "export":
      return `export ${step.slot}`;
    default:
      return "replicate";
  }
}

export function parseStep(line: string): Step {
  const [op, a = "0", b = "0", hex = ""] = line.trim().split(" ");
  switch (op) {
    case "frame":
      return { op, node: Number(a), port: Number(b), bytes: Uint8Array.from(Buffer.from(hex, "hex")) };
    case "tick":
      return { op, ms: Number(a) };
    case "policy":
      return { op, index: Number(a) };
    case "own":
      return { op, pattern: Number(a) };
    case "lease":
      return { op, node: Number(a), isValid: b === "1" };
    case "forge":
      return { op, seed: Number(a) };
    case "takeover":
      return { op, pattern: Number(a) };
    case "export":
      return { op, slot: Number(a) };
    case "replicate":
      return { op };
    default:
      throw new Error(`no step "${line}"`);
  }
}

/** A whole sequence: the family of policies on the first line, then the steps. */
export function sequenceText(family: number, steps: readonly Step[]): string {
  return [`family ${family}`, ...steps.map(stepText), ""].join("\n");
}

export function parseSequence(text: string): { family: number; steps: Step[] } {
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  const family = Number(/^family (\d+)/.exec(lines[0]!)?.[1] ?? 0);
  return { family, steps: lines.slice(1).map(parseStep) };
}
