import { useMemo } from "react";
import type { MinuteOut } from "../api/schema";
import { Lines as LineChart } from "../charts/Lines";
import { countsInWords, valuesInWords } from "../charts/scale";
import { TimeBars } from "../charts/TimeBars";
import { useNow } from "../components/Time";
import { useZone } from "../lib/prefs";
import { clockTime, dayOf, millis, span } from "../lib/time";

/** The axis: until the end of the present step, so that bars do not move under the pointer. */
function useAxis(windowMs: number, step: number): [number, number] {
  const now = useNow();
  const until = Math.ceil(now / step) * step;
  return [until - windowMs, until];
}

const RESULTS = ["succeeded", "failed", "did not run"] as const;

interface ChartProps {
  minutes: readonly MinuteOut[];
  windowMs: number;
  step: number;
}

/** What ended, by result. */
export function EndedChart({ minutes, windowMs, step }: ChartProps) {
  const [since, until] = useAxis(windowMs, step);
  const zone = useZone();
  const bars = useMemo(
    () =>
      minutes
        .map((one) => ({
          at: Date.parse(one.minute),
          values: [one.succeeded, one.failed, one.skipped + one.cancelled],
        }))
        .filter((bar) => bar.at >= since),
    [minutes, since],
  );
  if (bars.length === 0) return <Nothing of={windowMs} />;
  return (
    <TimeBars
      bars={bars}
      since={since}
      until={until}
      step={step}
      label={`Executions that ended: ${countsInWords(bars, RESULTS, (at) => `${dayOf(at, zone)}, ${clockTime(at, zone, false)}`)}`}
      series={[
        { label: RESULTS[0], fill: "var(--good-fill)" },
        { label: RESULTS[1], fill: "var(--bad-fill)" },
        { label: RESULTS[2], fill: "var(--warn-fill)", hollow: true },
      ]}
      tip={(bar) => (
        <>
          {dayOf(bar.at, zone)}, {clockTime(bar.at, zone, false)}
          {step > 60_000 && ` + ${span(step)}`}
          <br />
          {bar.values[0]?.toLocaleString("en")} succeeded
          <br />
          {bar.values[1]?.toLocaleString("en")} failed
          <br />
          {bar.values[2]?.toLocaleString("en")} did not run
        </>
      )}
    />
  );
}

/** How late calls left. */
export function LatenessChart({ minutes, windowMs, step }: ChartProps) {
  const [since, until] = useAxis(windowMs, step);
  const zone = useZone();
  const points = useMemo(() => {
    const known = new Map(minutes.map((one) => [Date.parse(one.minute), one.lateness_ms]));
    const found = [];
    for (let at = since; at < until; at += step) {
      const lateness = known.get(at);
      found.push({ at: at + step / 2, values: [lateness?.p50 ?? null, lateness?.p99 ?? null] });
    }
    return found;
  }, [minutes, since, until, step]);
  if (points.every((point) => point.values.every((value) => value === null))) {
    return <Nothing of={windowMs} />;
  }
  return (
    <LineChart
      points={points}
      since={since}
      until={until}
      height={132}
      log
      label={`How late calls left: ${valuesInWords(points, ["p50", "p99"], millis)}`}
      series={[
        { label: "p50", stroke: "var(--busy-fill)" },
        { label: "p99", stroke: "var(--warn-fill)" },
      ]}
      tip={(point) => (
        <>
          {dayOf(point.at, zone)}, {clockTime(point.at, zone, false)}
          <br />
          p50 {millis(point.values[0])}
          <br />
          p99 {millis(point.values[1])}
        </>
      )}
    />
  );
}

function Nothing({ of }: { of: number }) {
  return <div className="chart-empty">Nothing ended within the last {span(of)}.</div>;
}
