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
