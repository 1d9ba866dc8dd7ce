import type { TimelineOut } from "../api/schema";
import { useZone } from "../lib/prefs";
import { exactTime } from "../lib/time";
import type { View } from "../lib/timeline";

export function Footnotes({
  data,
  view,
  now,
  cut,
}: {
  data: TimelineOut | undefined;
  view: View;
  now: number;
  cut: boolean;
}) {
  const zone = useZone();
  const known = data ? Date.parse(data.complete_until) : view.until;
  const counted = data ? Date.parse(data.complete_since) : view.since;
  return (
    <div className="panel-head" style={{ borderTop: "1px solid var(--line)", flexWrap: "wrap" }}>
      <span className="legend">
        <span>
          <i className="i-good" /> succeeded
        </span>
        <span>
          <i className="i-bad" style={{ height: 13 }} /> failed
        </span>
        <span>
          <i className="i-warn" /> skipped
        </span>
        <span>
          <i className="i-quiet" /> cancelled
        </span>
        <span>
          <i style={{ border: "1px solid var(--quiet)", borderRadius: "50%" }} /> to come
        </span>
      </span>
      <span className="aside">
        {[
          cut
            ? "In the grey part only what went wrong is drawn one by one; the strip counts all."
            : "",
          counted > view.since && counted < now
            ? `What ended is counted from ${exactTime(counted, zone)} on.`
            : "",
          known < view.until && known > now
            ? `Fires to come are counted until ${exactTime(known, zone)}.`
            : "",
          "Drag over the strip to zoom.",
        ]
          .filter(Boolean)
          .join(" ")}
      </span>
    </div>
  );
}
