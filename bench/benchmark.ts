/**
 * What a benchmark is, and how it is run: its sides take turns, round for round, so that whatever else the machine
 * does falls on all of them alike, and what counts is the ratio of two sides in one round. `baseline` is the side the
 * others are held against; `cortexd` is ours; servers to compare with are further sides.
 */
export type Scale = {
  /** A quick pass that proves that everything runs; its figures mean little. */
  smoke: boolean;
  rounds: number;
  /** Of a run that is measured by time. */
  warmMs: number;
  runMs: number;
  /** Where the daemon leaves its CPU profiles; null: it makes none. */
  profile: string | null;
};

export type FigureKind = { unit: string; better: "more" | "less" };
export type Figures = Record<string, number>;

export type Benchmark = {
  name: string;
  /** What is measured, and against what: a sentence each. */
  says: string;
  against: string;
  figures: Record<string, FigureKind>;
  /** In the order of the first round. */
  sides: Record<string, (scale: Scale) => Promise<Figures>>;
};

/** The values of all rounds, and their median. */
export type Measured = { median: number; values: number[] };
export type SideResult = Record<string, { measured: Measured; ratio?: Measured }>;
export type Result = {
  name: string;
  says: string;
  against: string;
  figures: Benchmark["figures"];
  sides: Record<string, SideResult>;
};

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

const measured = (values: number[]): Measured => ({ median: median(values), values });

/** Runs all rounds. A figure that is missing, zero or no number is an error: nothing was measured then. */
export async function measure(
  benchmark: Benchmark,
  scale: Scale,
  onRun: (side: string, round: number) => void,
): Promise<Result> {
  const { name, says, against, figures } = benchmark;
  const names = Object.keys(benchmark.sides);
  const rounds: Record<string, Figures>[] = [];
  for (let round = 0; round < scale.rounds; round++) {
    const of: Record<string, Figures> = {};
    // Every other round the other way round: whoever comes second may find the machine warmer.
    for (const side of round % 2 === 0 ? names : [...names].reverse()) {
      onRun(side, round);
      const found = await (benchmark.sides[side] as Benchmark["sides"][string])(scale);
      for (const [figure, value] of Object.entries(found)) {
        if (!(figure in figures))
          throw new Error(`${name}: ${side} tells of ${figure}, which is not declared`);
        if (!(value > 0 && Number.isFinite(value)))
          throw new Error(`${name}: ${figure} of ${side} is ${value}`);
      }
      of[side] = found;
    }
    rounds.push(of);
  }
  const sides: Result["sides"] = {};
  for (const side of names) {
    const result: SideResult = {};
    for (const figure of Object.keys((rounds[0] as Record<string, Figures>)[side] as Figures)) {
      const of = (round: Record<string, Figures>, one: string) => round[one]?.[figure] as number;
      result[figure] = { measured: measured(rounds.map((round) => of(round, side))) };
      const hasBaseline = side !== "baseline" && rounds[0]?.baseline?.[figure] !== undefined;
      if (hasBaseline)
        result[figure].ratio = measured(rounds.map((round) => of(round, side) / of(round, "baseline")));
    }
    sides[side] = result;
  }
  return { name, says, against, figures, sides };
}
