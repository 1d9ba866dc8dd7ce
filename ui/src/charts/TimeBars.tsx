import { utcTicks } from "d3-time";
import { type ReactNode, useId, useState } from "react";
import { useZone } from "../lib/prefs";
import { clockTime, dayOf, zoneOffset } from "../lib/time";
import { linear, niceTicks } from "./scale";
import { useWidth } from "./useSize";

export interface Bar {
  at: number;
  /** From the bottom up, in the order of `series`. */
  values: readonly number[];
}

export interface Series {
  label: string;
  fill: string;
  hollow?: boolean;
}

const PAD = { left: 34, right: 2, top: 8, bottom: 18 };

/** The ticks of an axis of time in a zone: whole hours and days there, not in UTC. */
export function timeTicks(since: number, until: number, width: number, zone: string) {
  const wanted = Math.max(2, Math.floor(width / 90));
  const wall = (at: number) => new Date(at + zoneOffset(at, zone));
  // Each by the offset of its own: between two of them the clocks may have been changed.
  const ticks = utcTicks(wall(since), wall(until), wanted).map((tick) => {
    const guess = tick.getTime() - zoneOffset(tick.getTime(), zone);
    return tick.getTime() - zoneOffset(guess, zone);
  });
  return [...new Set(ticks)].filter((at) => at >= since && at <= until);
}

export function tickLabel(at: number, zone: string, wide: boolean): string {
  const time = clockTime(at, zone, false);
  if (time === "00:00") return dayOf(at, zone).replace(/^\w+ /, "");
  return wide ? time : clockTime(at, zone, at % 60_000 !== 0);
}

/** Bars on an axis of time, stacked. */
export function TimeBars({
  bars,
  series,
  since,
  until,
  step,
  height = 132,
  label,
  tip,
}: {
  bars: readonly Bar[];
  series: readonly Series[];
  since: number;
  until: number;
  step: number;
  height?: number;
  label: string;
  tip: (bar: Bar) => ReactNode;
}) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [hovered, setHovered] = useState<Bar | null>(null);
  const zone = useZone();
  const title = useId();
  const highest = Math.max(1, ...bars.map((bar) => bar.values.reduce((sum, one) => sum + one, 0)));
  // Half an execution is none.
  const ticks = niceTicks(highest).filter(Number.isInteger);
  const x = linear([since, until], [PAD.left, Math.max(PAD.left + 10, width - PAD.right)]);
  const y = linear([0, ticks.at(-1) as number], [height - PAD.bottom, PAD.top]);
  const barWidth = Math.max(
    1,
    x(since + step) - x(since) - (width / ((until - since) / step) > 4 ? 1 : 0),
  );

  return (
    <div ref={ref} style={{ position: "relative" }}>
      <svg className="chart" height={height} role="img" aria-labelledby={title}>
        <title id={title}>{label}</title>
        {ticks.map((tick) => (
          <g key={tick}>
            <line className="axis" x1={PAD.left} x2={width - PAD.right} y1={y(tick)} y2={y(tick)} />
            <text x={PAD.left - 6} y={y(tick) + 3.5} textAnchor="end">
              {tick >= 10_000 ? `${tick / 1_000}k` : tick.toLocaleString("en")}
            </text>
          </g>
        ))}
        {timeTicks(since, until, width, zone).map((tick) =>
          x(tick) > PAD.left + 12 && x(tick) < width - 14 ? (
            <text key={tick} x={x(tick)} y={height - 4} textAnchor="middle">
              {tickLabel(tick, zone, step >= 60_000)}
            </text>
          ) : null,
        )}
        {bars.map((bar) => {
          let below = 0;
          return (
            <g key={bar.at} opacity={hovered && hovered.at !== bar.at ? 0.55 : 1}>
              {bar.values.map((value, index) => {
                if (value === 0) return null;
                const one = series[index] as Series;
                const top = y(below + value);
                const bottom = y(below);
                below += value;
                return (
                  <rect
                    key={one.label}
                    x={x(bar.at)}
                    width={barWidth}
                    y={top}
                    height={Math.max(1, bottom - top)}
                    fill={one.hollow ? "none" : one.fill}
                    stroke={one.hollow ? one.fill : undefined}
                  />
                );
              })}
              <rect
                x={x(bar.at)}
                width={barWidth + 1}
                y={PAD.top}
                height={height - PAD.top - PAD.bottom}
                fill="transparent"
                onPointerEnter={() => setHovered(bar)}
                onPointerLeave={() => setHovered(null)}
              />
            </g>
          );
        })}
      </svg>
      {hovered && (
        <div
          className="chart-tip"
          style={{
            top: 0,
            ...(x(hovered.at) > width / 2
              ? { right: width - x(hovered.at) + 8 }
              : { left: x(hovered.at) + barWidth + 8 }),
          }}
        >
          {tip(hovered)}
        </div>
      )}
    </div>
  );
}
