import { memo, useState } from "react";
import { Link } from "react-router";
import type { GlanceOut } from "../api/schema";
import { useZone } from "../lib/prefs";
import { exactTime, millis } from "../lib/time";
import { reasonWords, stateWords } from "../lib/words";

/**
 * The last results of a job, oldest at the left: height is duration, a failure is always full, and
 * what did not run is hollow.
 */
export const Strip = memo(function Strip({
  executions,
  slots = 20,
}: {
  executions: readonly GlanceOut[];
  slots?: number;
}) {
  const zone = useZone();
  // One for the strip: a list has dozens of these, and each bar with its own would make it slow.
  const [hovered, setHovered] = useState<number | null>(null);
  const shown = executions.slice(0, slots).reverse();
  const longest = Math.max(1, ...shown.map((one) => one.duration_ms ?? 0));
  const one = hovered === null ? undefined : shown[hovered];
  return (
    <div style={{ position: "relative" }}>
      <div className="strip">
        {Array.from({ length: slots - shown.length }, (_, index) => (
          <span className="bar" key={index} aria-hidden="true" />
        ))}
        {shown.map((bar, index) => (
          <Link
            key={bar.id}
            to={`/executions/${bar.id}`}
            tabIndex={-1}
            aria-label={`${stateWords(bar.state).label}, ${exactTime(Date.parse(bar.fire_time), zone)}`}
            onPointerEnter={() => setHovered(index)}
            onPointerLeave={() => setHovered(null)}
          >
            <i
              className={`i-${stateWords(bar.state).tone}`}
              style={{ height: height(bar, longest) }}
            />
          </Link>
        ))}
      </div>
      {one && (
        <div className="chart-tip" style={{ right: 0, bottom: "calc(100% + 4px)" }}>
          {stateWords(one.state).label}
          {one.http_status ? ` · ${one.http_status}` : ""}
          {one.duration_ms === null ? "" : ` · ${millis(one.duration_ms)}`}
          {one.reason ? ` · ${reasonWords(one.reason)}` : ""}
          <br />
          {exactTime(Date.parse(one.fire_time), zone)}
        </div>
      )}
    </div>
  );
});

function height(one: GlanceOut, longest: number): string {
  if (one.state === "failed") return "100%";
  if (one.duration_ms === null) return "35%";
  return `${Math.round(30 + 60 * Math.sqrt(one.duration_ms / longest))}%`;
}
