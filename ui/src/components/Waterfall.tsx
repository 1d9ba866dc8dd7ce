import type { AttemptOut } from "../api/schema";
import { courseOf, type Part, type Phase } from "../lib/phases";
import { millis } from "../lib/time";

const LOOK: Record<Phase, { label: string; fill: string }> = {
  dns_ms: { label: "DNS", fill: "#8e7cc3" },
  connect_ms: { label: "Connect", fill: "#d08a3c" },
  proxy_ms: { label: "Proxy", fill: "#8a8f3c" },
  tls_ms: { label: "TLS", fill: "#b56aa3" },
  first_byte_ms: { label: "First byte", fill: "#4a8fd0" },
  body: { label: "Body", fill: "#4e9f74" },
};

/** Where the time of a call went, phase by phase; the one that it ended in is hatched. */
export function Waterfall({ attempt, scale }: { attempt: AttemptOut; scale?: number }) {
  const course = courseOf(attempt);
  if (!course) return null;
  const whole = Math.max(scale ?? course.total, 0.001);
  // Few calls go through a proxy; the others need no line for it.
  const parts = course.parts.filter((part) => part.phase !== "proxy_ms" || part.length !== null);
  const open = parts.find((part) => part.open);
  const end =
    attempt.error_kind === "timeout" ? "until the timeout" : "until the connection failed";
  return (
    <div className="waterfall">
      {parts.map((part) => (
        <Row key={part.phase} part={part} whole={whole} />
      ))}
      <strong>Total</strong>
      <span />
      <strong className="right num">{millis(course.total)}</strong>
      {open && (
        <span className="said dim">
          {LOOK[open.phase].label}: waited here {end}
        </span>
      )}
      {course.untold && (
        <span className="said dim">What it waited for {end} was not measured.</span>
      )}
    </div>
  );
}

function Row({ part, whole }: { part: Part; whole: number }) {
  const { label, fill } = LOOK[part.phase];
  const percent = (value: number) => `${Math.min(100, (value / whole) * 100)}%`;
  const dim = part.length === null ? " dim" : "";
  return (
    <>
      <span className={dim.trim()}>{label}</span>
      <span className="track">
        {part.length !== null && (
          <i
            className={part.open ? "open" : undefined}
            style={{
              left: percent(part.start),
              width: percent(part.length),
              [part.open ? "color" : "background"]: fill,
            }}
          />
        )}
      </span>
      <span className={`right num${dim}`}>{millis(part.length)}</span>
    </>
  );
}
