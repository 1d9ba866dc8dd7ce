/** From one range of numbers to another: positions of a chart. */
export interface Scale {
  (value: number): number;
  invert(position: number): number;
}

export function linear(
  [from, to]: readonly [number, number],
  [start, end]: readonly [number, number],
): Scale {
  const length = to - from || 1;
  const scale = (value: number) => start + ((value - from) / length) * (end - start);
  scale.invert = (position: number) => from + ((position - start) / (end - start || 1)) * length;
  return scale;
}

/** By order of magnitude; the values are greater than 0. */
export function logarithmic(
  [from, to]: readonly [number, number],
  range: readonly [number, number],
): Scale {
  const exponents = linear([Math.log10(from), Math.log10(to)], range);
  const scale = (value: number) => exponents(Math.log10(value));
  scale.invert = (position: number) => 10 ** exponents.invert(position);
  return scale;
}

/** Round numbers from 0 to at least `max`: at most `wanted` + 1 of them. */
export function niceTicks(max: number, wanted = 3): number[] {
  if (!(max > 0)) return [0, 1];
  const raw = max / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw) as number;
  const ticks = [];
  for (let tick = 0; tick < max + step * 0.999; tick += step)
    ticks.push(Number(tick.toPrecision(8)));
  return ticks;
}

/** The length of a step that fills a window with at most `most` bars. */
export function stepFor(windowMs: number, most: number): number {
  const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440];
  const found = minutes.find((one) => windowMs / (one * 60_000) <= most);
  return (found ?? 1_440) * 60_000;
}

/** A length of time as the API takes it. */
export function asDuration(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000}m` : `${ms / 1_000}s`;
}

/** The points of a line that no other is beside: of these a line alone would show nothing. */
export function alone(
  points: readonly { at: number; values: readonly (number | null)[] }[],
  index: number,
): { at: number; value: number }[] {
  const known = (place: number) => points[place]?.values[index] ?? null;
  return points.flatMap(({ at }, place) => {
    const value = known(place);
    const beside = known(place - 1) !== null || known(place + 1) !== null;
    return value === null || beside ? [] : [{ at, value }];
  });
}

/** What a chart of counts shows, for those who cannot see it: sums, and when there was most. */
export function countsInWords(
  bars: readonly { at: number; values: readonly number[] }[],
  labels: readonly string[],
  when: (at: number) => string,
): string {
  const sums = labels.map((label, index) => {
    const sum = bars.reduce((before, bar) => before + (bar.values[index] ?? 0), 0);
    return `${sum.toLocaleString("en")} ${label}`;
  });
  const totals = bars.map((bar) => bar.values.reduce((sum, one) => sum + one, 0));
  const most = Math.max(0, ...totals);
  const peak = bars[totals.indexOf(most)];
  return most > 0 && peak ? `${sums.join(", ")}; most at ${when(peak.at)}` : sums.join(", ");
}

/** The same of measured values: from the least to the most, and the newest. */
export function valuesInWords(
  points: readonly { values: readonly (number | null)[] }[],
  labels: readonly string[],
  written: (value: number) => string,
): string {
  return labels
    .map((label, index) => {
      const known = points
        .map((point) => point.values[index])
        .filter((one) => one !== null && one !== undefined);
      const newest = known.at(-1);
      if (newest === undefined) return `${label} is not known`;
      const [least, most] = [Math.min(...known), Math.max(...known)];
      return `${label} from ${written(least)} to ${written(most)}, the newest ${written(newest)}`;
    })
    .join("; ");
}
