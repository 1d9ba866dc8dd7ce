import type { GlanceOut } from "../api/schema";
import { count } from "./text";
import { exactTime, millis } from "./time";
import { reasonWords, stateWords, type Tone } from "./words";

export const HEIGHT = 20;
/** From one bar to the next, in pixels. */
export const STEP = 6;
const WIDTH = 5;

/** A path for each tone that occurs: all bars of it, the newest in the last of the slots. */
export function barsOf(shown: readonly GlanceOut[], slots: number): [Tone, string][] {
  const longest = Math.max(1, ...shown.map((one) => one.duration_ms ?? 0));
  const paths = new Map<Tone, string>();
  shown.forEach((one, index) => {
    const { tone } = stateWords(one.state);
    const x = (slots - shown.length + index) * STEP;
    const height = heightOf(one, longest);
    // Hollow ones are drawn by their outline, half of which would fall outside.
    const [inset, width, tall] =
      tone === "warn" ? [0.75, WIDTH - 1.5, height - 1.5] : [0, WIDTH, height];
    const bar = `M${x + inset} ${HEIGHT - inset}v${-tall}h${width}v${tall}z`;
    paths.set(tone, (paths.get(tone) ?? "") + bar);
  });
  return [...paths];
}

function heightOf(one: GlanceOut, longest: number): number {
  if (one.state === "failed") return HEIGHT;
  if (one.duration_ms === null) return 7;
  return Math.round(HEIGHT * (0.3 + 0.6 * Math.sqrt(one.duration_ms / longest)));
}

/** For those who cannot see it: `18 succeeded, 2 failed; the last one failed`. */
export function summaryOf(shown: readonly GlanceOut[]): string {
  const last = shown.at(-1);
  if (!last) return "Nothing has run yet";
  const counts = new Map<string, number>();
  for (const one of shown) counts.set(one.state, (counts.get(one.state) ?? 0) + 1);
  const parts = [...counts].map(
    ([state, number]) => `${number} ${stateWords(state).label.toLowerCase()}`,
  );
  return `Of the last ${count(shown.length, "execution")} ${parts.join(", ")}; the newest: ${stateWords(last.state).label.toLowerCase()}`;
}

/** What one bar stands for. */
export function wordsOf(one: GlanceOut, zone: string): string {
  const said = [
    stateWords(one.state).label,
    one.http_status ? String(one.http_status) : "",
    one.duration_ms === null ? "" : millis(one.duration_ms),
    one.reason ? reasonWords(one.reason) : "",
  ];
  return `${said.filter(Boolean).join(" · ")}\n${exactTime(Date.parse(one.fire_time), zone)}`;
}
