/** Figures: what the runs of a bench measured, by name: printed as median and spread, each beside its budget. Owns no measuring. */
import { cpus, release } from "node:os";

export interface Budget {
  readonly most?: number;
  readonly least?: number;
}

interface Row {
  readonly unit: string;
  readonly budget: Budget | undefined;
  readonly values: number[];
}

const NAME_COLUMNS = 76;
const VALUE_COLUMNS = 12;
const UNIT_COLUMNS = 9;
const SPREAD_COLUMNS = 24;

export class Figures {
  /** False: what is added is forgotten, as of rounds that only warm up. */
  isCounting = true;
  readonly #rows = new Map<string, Row>();

  /** One run's figure. */
  add(name: string, value: number, unit: string, budget?: Budget): void {
    if (!this.isCounting) return;
    const row = this.#rows.get(name) ?? { unit, budget, values: [] };
    this.#rows.set(name, row);
    row.values.push(value);
  }

  print(): void {
    for (const [name, row] of this.#rows) console.log(line(name, row));
  }
}

/** Which machine and which Node.js, for the head of a table. */
export function machineLine(): string {
  return `machine: ${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}; Linux ${release()}; Node.js ${process.version}`;
}

function line(name: string, { unit, budget, values }: Row): string {
  const sorted = [...values].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1]!;
  const spread = `(${show(sorted[0]!)} to ${show(sorted.at(-1)!)})`;
  const columns = [
    name.padEnd(NAME_COLUMNS),
    show(median).padStart(VALUE_COLUMNS),
    unit.padEnd(UNIT_COLUMNS),
    spread.padEnd(SPREAD_COLUMNS),
    verdict(median, budget),
  ];
  return columns.join(" ").trimEnd();
}

function show(value: number): string {
  return value.toFixed(value >= 100 ? 0 : 2);
}

function verdict(median: number, budget: Budget | undefined): string {
  if (budget === undefined) return "";
  const { most = Number.POSITIVE_INFINITY, least = Number.NEGATIVE_INFINITY } = budget;
  const bound = budget.most === undefined ? `>= ${least}` : `<= ${most}`;
  return `budget ${bound}: ${median <= most && median >= least ? "kept" : "MISSED"}`;
}
