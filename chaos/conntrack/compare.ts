/**
 * Comparison: plays a sequence to both firewalls and finds the first packet on which they disagree; then makes the sequence as
 * short as it can be while they still disagree in the same way. Owns no opinion about who is right (differences.ts).
 */
import type { EngineFirewall, TcpLook } from "./engine-firewall.ts";
import type { Firewall } from "./firewall.ts";
import { describe, dotted, endsOf, render, type Sequence } from "./steps.ts";

export interface Disagreement {
  /** Position of the packet on which they disagree; the last of `sequence`. */
  readonly at: number;
  readonly sequence: Sequence;
  /** What each said to each packet up to there. */
  readonly engine: readonly string[];
  readonly kernel: readonly boolean[];
  /** What each knew before that packet, when it was looked at. */
  readonly look: TcpLook | undefined;
  /** In words; "?" when nobody looked. */
  readonly engineBefore: string;
  readonly kernelBefore: string;
}

export class Comparison {
  packets = 0;
  /** Packets that both dropped. */
  dropped = 0;
  readonly #engine: EngineFirewall;
  readonly #kernel: Firewall;
  #lane = 0;

  constructor(engine: EngineFirewall, kernel: Firewall) {
    this.#engine = engine;
    this.#kernel = kernel;
  }

  /** Lanes used up so far. */
  get lanes(): number {
    return this.#lane;
  }

  /** The first disagreement on a sequence, or undefined. */
  play(sequence: Sequence, looks: "none" | "engine" | "both" = "none"): Disagreement | undefined {
    const lane = this.#lane++;
    const ends = endsOf(sequence, lane);
    const client = dotted(ends.client);
    const engine: string[] = [];
    const kernel: boolean[] = [];
    let before = { engine: "?", kernel: "?" };
    let look: TcpLook | undefined;
    for (const [index, step] of sequence.steps.entries()) {
      const packet = render(sequence, index, lane);
      const isFromInside = (step.from === "client") === sequence.isClientInside;
      const isLast = index === sequence.steps.length - 1;
      if (isLast && looks !== "none") look = this.#engine.look(ends.client, ends.server);
      if (isLast && looks === "both")
        before = { engine: this.#engine.stateOf(client), kernel: this.#kernel.stateOf(client) };
      const ours = this.#engine.send(isFromInside, packet);
      const theirs = this.#kernel.send(isFromInside, packet);
      this.packets++;
      if (!ours && !theirs) this.dropped++;
      engine.push(this.#engine.lastVerdict);
      kernel.push(theirs);
      if (ours === theirs) continue;
      return {
        at: index,
        sequence: { ...sequence, steps: sequence.steps.slice(0, index + 1) },
        engine,
        kernel,
        look,
        engineBefore: before.engine,
        kernelBefore: before.kernel,
      };
    }
    return undefined;
  }

  /** The shortest sequence that ends in a disagreement of the same class; `classOf` names it. */
  shrink(found: Disagreement, classOf: (disagreement: Disagreement) => string | undefined): Disagreement {
    const wanted = classOf(found);
    let best = found;
    for (let isShorter = true; isShorter; ) {
      isShorter = false;
      for (let leaveOut = best.sequence.steps.length - 2; leaveOut >= 0; leaveOut--) {
        const steps = without(best.sequence, leaveOut);
        if (steps === undefined) continue;
        const tried = this.play({ ...best.sequence, steps }, "both");
        if (tried === undefined || tried.at !== steps.length - 1 || classOf(tried) !== wanted) continue;
        best = tried;
        isShorter = true;
      }
    }
    return this.play(best.sequence, "both") ?? best;
  }
}

/** The steps without one; undefined when a later one quotes it. */
function without(sequence: Sequence, index: number): Sequence["steps"] | undefined {
  const { steps } = sequence;
  if (steps.some((step) => step.kind === "error" && step.about === index)) return undefined;
  return steps
    .filter((_, i) => i !== index)
    .map((step) => (step.kind === "error" && step.about > index ? { ...step, about: step.about - 1 } : step));
}

/** The sequence with both verdicts, a line a packet. */
export function transcript({ sequence, engine, kernel, engineBefore, kernelBefore }: Disagreement): string {
  const lines = sequence.steps.map((step, i) => {
    const theirs = kernel[i] ? "passes" : "drops";
    return `  ${describe(step)}  => engine ${engine[i]}, kernel ${theirs}`;
  });
  const where = `client ${sequence.isClientInside ? "inside" : "outside"}, port ${sequence.serverPort}`;
  return [`  (${where})`, ...lines, `  engine knew: ${engineBefore}`, `  kernel knew: ${kernelBefore}`].join(
    "\n",
  );
}
