import { type ReactNode, useId, useState } from "react";
import { useZone } from "../lib/prefs";
import { millis } from "../lib/time";
import { alone, linear, logarithmic, niceTicks } from "./scale";
import { tickLabel, timeTicks } from "./TimeBars";
import { useWidth } from "./useSize";

export interface Point {
  at: number;
  values: readonly (number | null)[];
}

export interface LineSeries {
  label: string;
  stroke: string;
  dash?: string;
}

const PAD = { left: 46, right: 4, top: 8, bottom: 18 };

/** Lines of milliseconds on an axis of time. */
export function Lines({
  points,
  series,
  since,
  until,
  height = 104,
  log = false,
  label,
  tip,
  onPick,
}: {
  points: readonly Point[];
  series: readonly LineSeries[];
  since: number;
  until: number;
  height?: number;
  /** A logarithmic axis from 1 ms on: for what is mostly small and now and then huge. */
  log?: boolean;
  label: string;
  tip: (point: Point) => ReactNode;
  onPick?: (point: Point) => void;
}) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [hovered, setHovered] = useState<Point | null>(null);
  const zone = useZone();
  const title = useId();
  const highest = Math.max(1, ...points.flatMap((point) => point.values.map((one) => one ?? 0)));
  const ticks = log ? decades(highest) : niceTicks(highest, 2);
  const x = linear([since, until], [PAD.left, Math.max(PAD.left + 10, width - PAD.right)]);
  const place: [number, number] = [height - PAD.bottom, PAD.top];
  const even = linear([0, ticks.at(-1) as number], place);
  const byMagnitude = logarithmic([1, ticks.at(-1) as number], place);
  const y = (value: number) => (log ? byMagnitude(Math.max(1, value)) : even(value));

  const nearest = (clientX: number, box: DOMRect) => {
    const at = x.invert(clientX - box.left);
    let best: Point | null = null;
    for (const point of points) {
      if (best === null || Math.abs(point.at - at) < Math.abs(best.at - at)) best = point;
    }
    return best;
  };

  return (
    <div ref={ref} style={{ position: "relative" }}>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the same points are links in the history */}
      <svg
        className="chart"
        height={height}
        role="img"
        aria-labelledby={title}
        style={{ cursor: onPick ? "pointer" : undefined }}
        onPointerMove={(event) =>
          setHovered(nearest(event.clientX, event.currentTarget.getBoundingClientRect()))
        }
        onPointerLeave={() => setHovered(null)}
        onClick={() => hovered && onPick?.(hovered)}
      >
        <title id={title}>{label}</title>
        {ticks.map((tick) => (
          <g key={tick}>
            <line className="axis" x1={PAD.left} x2={width - PAD.right} y1={y(tick)} y2={y(tick)} />
            <text x={PAD.left - 6} y={y(tick) + 3.5} textAnchor="end">
              {tick === 0 ? "0" : millis(tick).replace(/\.0+(?= )/, "")}
            </text>
          </g>
        ))}
        {timeTicks(since, until, width, zone).map((tick) =>
          x(tick) > PAD.left + 12 && x(tick) < width - 14 ? (
            <text key={tick} x={x(tick)} y={height - 4} textAnchor="middle">
              {tickLabel(tick, zone, false)}
            </text>
          ) : null,
        )}
        {series.map((one, index) => (
          <g key={one.label}>
            <path
              d={pathOf(points, index, x, y)}
              fill="none"
              stroke={one.stroke}
              strokeWidth={1.5}
              strokeDasharray={one.dash}
              strokeLinejoin="round"
            />
            {alone(points, index).map(({ at, value }) => (
              <circle key={at} cx={x(at)} cy={y(value)} r={2} fill={one.stroke} />
            ))}
          </g>
        ))}
        {hovered && (
          <line
            x1={x(hovered.at)}
            x2={x(hovered.at)}
            y1={PAD.top}
            y2={height - PAD.bottom}
            stroke="var(--line-strong)"
          />
        )}
      </svg>
      {hovered && (
        <div
          className="chart-tip"
          style={{
            top: 0,
            ...(x(hovered.at) > width / 2
              ? { right: width - x(hovered.at) + 8 }
              : { left: x(hovered.at) + 8 }),
          }}
        >
          {tip(hovered)}
        </div>
      )}
    </div>
  );
}

const ROUND = [1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000];

/** Lengths of time that people think in, up to what is needed; every other one where there are many. */
function decades(max: number): number[] {
  const last = ROUND.findIndex((one) => one >= max);
  const needed =
    last < 0 ? [...ROUND, 10 ** Math.ceil(Math.log10(max))] : ROUND.slice(0, Math.max(1, last) + 1);
  if (needed.length < 5) return needed;
  return needed.filter((_, index) => (needed.length - 1 - index) % 2 === 0 || index === 0);
}

function pathOf(
  points: readonly Point[],
  index: number,
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  let path = "";
  let pen = false;
  for (const point of points) {
    const value = point.values[index];
    if (value === null || value === undefined) {
      pen = false;
      continue;
    }
    path += `${pen ? "L" : "M"}${x(point.at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  }
  return path;
}
