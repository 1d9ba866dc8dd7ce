import { type PointerEvent, useState } from "react";
import type { TimelineOut } from "../api/schema";
import { countsInWords, linear } from "../charts/scale";
import { tickLabel, timeTicks } from "../charts/TimeBars";
import { useZone } from "../lib/prefs";
import { count } from "../lib/text";
import { exactTime, span } from "../lib/time";
import type { View } from "../lib/timeline";

/** Pixels that the strip is high. */
export const STRIP = 74;

/** Where the herd is: everything that ended and everything to come, counted by step. */
export function Density({
  data,
  view,
  width,
  x,
  onSelect,
}: {
  data: TimelineOut;
  view: View;
  width: number;
  x: (at: number) => number;
  onSelect: (from: number, to: number) => void;
}) {
  const zone = useZone();
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const [hover, setHover] = useState<{ x: number; words: React.ReactNode } | null>(null);
  const past = data.past.map((one) => ({
    at: Date.parse(one.start),
    good: one.succeeded,
    bad: one.failed,
    warn: one.skipped + one.cancelled,
  }));
  const ahead = data.ahead.map((one) => ({ at: Date.parse(one.start), fires: one.fires }));
  const byStep = new Map<number, [number, number, number, number]>();
  for (const one of past) byStep.set(one.at, [one.good, one.bad, one.warn, 0]);
  for (const one of ahead) {
    const [good, bad, warn] = byStep.get(one.at) ?? [0, 0, 0];
    byStep.set(one.at, [good, bad, warn, one.fires]);
  }
  const columns = [...byStep].map(([start, values]) => ({ at: start, values }));
  const highest = Math.max(
    1,
    ...columns.map(({ values }) => values.reduce((sum, one) => sum + one, 0)),
  );
  const y = linear([0, highest], [STRIP, 22]);
  const bar = Math.max(1, x(view.since + view.step) - x(view.since) - 1);
  const axis = timeTicks(view.since, view.until, width, zone);

  const at = (event: PointerEvent<SVGSVGElement>) =>
    event.clientX - event.currentTarget.getBoundingClientRect().left;
  const timeAt = (place: number) => view.since + (place / width) * (view.until - view.since);

  return (
    <div style={{ position: "relative" }}>
      <svg
        className="chart"
        width={width}
        height={STRIP + 24}
        style={{ width, cursor: "crosshair", touchAction: "pan-y" }}
        role="img"
        aria-label={`How many fires there were and will be: ${countsInWords(
          columns,
          ["succeeded", "failed", "did not run", "to come"],
          (start) => exactTime(start, zone),
        )}`}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag([at(event), at(event)]);
        }}
        onPointerMove={(event) => {
          const place = at(event);
          if (drag) setDrag([drag[0], place]);
          const start =
            view.since + Math.floor((timeAt(place) - view.since) / view.step) * view.step;
          const one = past.find((found) => found.at === start);
          const next = ahead.find((found) => found.at === start);
          setHover({
            x: place,
            words: (
              <>
                {exactTime(start, zone)} + {span(view.step)}
                {one && (
                  <>
                    <br />
                    {one.good} succeeded, {one.bad} failed, {one.warn} did not run
                  </>
                )}
                {next && (
                  <>
                    <br />
                    {count(next.fires, "fire")} to come
                  </>
                )}
                {!one && !next && (
                  <>
                    <br />
                    nothing
                  </>
                )}
              </>
            ),
          });
        }}
        onPointerUp={() => {
          if (drag && Math.abs(drag[1] - drag[0]) > 8) {
            const [from, to] = [Math.min(...drag), Math.max(...drag)];
            onSelect(timeAt(from), timeAt(to));
          }
          setDrag(null);
        }}
        onPointerLeave={() => setHover(null)}
      >
        <line className="axis" x1={0} x2={width} y1={STRIP} y2={STRIP} />
        <text x={width} y={14} textAnchor="end">
          up to {highest.toLocaleString("en")}
        </text>
        {past.map((one) => (
          <g key={`p${one.at}`}>
            <rect
              x={x(one.at)}
              width={bar}
              y={y(one.good)}
              height={STRIP - y(one.good)}
              fill="var(--good-fill)"
            />
            <rect
              x={x(one.at)}
              width={bar}
              y={y(one.good + one.bad)}
              height={y(one.good) - y(one.good + one.bad)}
              fill="var(--bad-fill)"
            />
            <rect
              x={x(one.at) + 0.5}
              width={Math.max(1, bar - 1)}
              y={y(one.good + one.bad + one.warn)}
              height={y(one.good + one.bad) - y(one.good + one.bad + one.warn)}
              fill="none"
              stroke="var(--warn-fill)"
              strokeWidth={one.warn ? 1 : 0}
            />
          </g>
        ))}
        {ahead.map((one) => {
          const below = past.find((found) => found.at === one.at);
          const base = below ? below.good + below.bad + below.warn : 0;
          return (
            <rect
              key={`a${one.at}`}
              x={x(one.at)}
              width={bar}
              y={y(base + one.fires)}
              height={y(base) - y(base + one.fires)}
              fill="var(--quiet-fill)"
              opacity={0.55}
            />
          );
        })}
        {axis.map((tick) =>
          x(tick) > 14 && x(tick) < width - 14 ? (
            <text key={tick} x={x(tick)} y={STRIP + 15} textAnchor="middle">
              {tickLabel(tick, zone, true)}
            </text>
          ) : null,
        )}
        {drag && Math.abs(drag[1] - drag[0]) > 3 && (
          <rect
            x={Math.min(...drag)}
            width={Math.abs(drag[1] - drag[0])}
            y={4}
            height={STRIP - 4}
            fill="var(--busy-fill)"
            opacity={0.2}
          />
        )}
      </svg>
      {hover && !drag && (
        <div
          className="chart-tip"
          style={{
            top: 2,
            ...(hover.x > width / 2 ? { right: width - hover.x + 12 } : { left: hover.x + 12 }),
          }}
        >
          {hover.words}
        </div>
      )}
    </div>
  );
}
