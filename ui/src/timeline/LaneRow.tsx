import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { useZone } from "../lib/prefs";
import { count } from "../lib/text";
import { exactTime } from "../lib/time";
import type { Lane, Mark } from "../lib/timeline";
import { stateWords } from "../lib/words";

export function LaneRow({
  lane,
  left,
  stacked,
  width,
}: {
  lane: Lane;
  left: number;
  stacked: boolean;
  width: number;
}) {
  const navigate = useNavigate();
  const zone = useZone();
  const [hover, setHover] = useState<Mark | null>(null);
  const path = `/jobs/${encodeURIComponent(lane.name)}`;
  return (
    <div
      className={`lane${stacked ? " stacked" : ""}`}
      style={stacked ? undefined : { gridTemplateColumns: `${left}px 1fr` }}
      data-lane={lane.name}
    >
      <Link className={`name lane-name cut${lane.failed ? " tone-bad" : ""}`} to={path}>
        {lane.name}
      </Link>
      <div style={{ position: "relative" }}>
        <svg
          width={width}
          height={24}
          role="img"
          aria-label={`${count(lane.total, "fire")}, ${lane.failed} failed`}
        >
          {lane.marks.map((mark) => (
            // biome-ignore lint/a11y/noStaticElementInteractions: the history has them as links
            <g
              key={mark.x}
              data-mark={mark.state}
              style={{ cursor: "pointer" }}
              onPointerEnter={() => setHover(mark)}
              onPointerLeave={() => setHover(null)}
              onClick={() => void navigate(mark.id ? `/executions/${mark.id}` : path)}
            >
              <rect x={mark.x - 1} y={0} width={6} height={24} fill="transparent" />
              <MarkShape mark={mark} />
            </g>
          ))}
        </svg>
        {hover && (
          <div
            className="chart-tip"
            style={{
              bottom: 24,
              ...(hover.x > width / 2 ? { right: width - hover.x } : { left: hover.x + 6 }),
            }}
          >
            {hover.state === "ahead" ? "To come" : stateWords(hover.state).label}
            {hover.count > 1 && `, and ${hover.count - 1} more here`}
            <br />
            {exactTime(hover.at, zone)}
          </div>
        )}
      </div>
    </div>
  );
}

// Height and filling say the same as the colour.
function MarkShape({ mark }: { mark: Mark }) {
  const common = { x: mark.x, width: 3, rx: 1 };
  switch (mark.state) {
    case "failed":
      return <rect {...common} y={2} height={20} fill="var(--bad-fill)" />;
    case "succeeded":
      return <rect {...common} y={6} height={12} fill="var(--good-fill)" />;
    case "claimed":
      return <rect {...common} y={4} height={16} fill="var(--busy-fill)" />;
    case "skipped":
      return <rect {...common} y={6.5} height={11} fill="none" stroke="var(--warn-fill)" />;
    case "ahead":
      return <circle cx={mark.x + 1.5} cy={12} r={2} fill="none" stroke="var(--quiet)" />;
    default:
      return <rect {...common} y={8.5} height={7} fill="none" stroke="var(--quiet-fill)" />;
  }
}
