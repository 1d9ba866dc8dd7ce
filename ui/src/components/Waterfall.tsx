import type { AttemptOut } from "../api/schema";
import { millis } from "../lib/time";

const PHASES = [
  ["dns_ms", "DNS", "#8e7cc3"],
  ["connect_ms", "Connect", "#d08a3c"],
  ["proxy_ms", "Proxy", "#8a8f3c"],
  ["tls_ms", "TLS", "#b56aa3"],
  ["first_byte_ms", "First byte", "#4a8fd0"],
  ["body", "Body", "#4e9f74"],
] as const;

/** Where the time of a call went, phase by phase. */
export function Waterfall({ attempt, scale }: { attempt: AttemptOut; scale?: number }) {
  const timings = attempt.timings;
  if (!timings) return null;
  const total = timings.total_ms ?? attempt.duration_ms;
  const known =
    (timings.dns_ms ?? 0) +
    (timings.connect_ms ?? 0) +
    (timings.proxy_ms ?? 0) +
    (timings.tls_ms ?? 0);
  const rest =
    timings.first_byte_ms === null ? null : Math.max(0, total - known - timings.first_byte_ms);
  const whole = Math.max(scale ?? total, 0.001);
  let at = 0;
  // Few calls go through a proxy; the others need no line for it.
  const phases = PHASES.filter(([name]) => name !== "proxy_ms" || timings.proxy_ms != null);
  const rows = phases.map(([name, label, fill]) => {
    const length = (name === "body" ? rest : timings[name]) ?? null;
    const start = at;
    at += length ?? 0;
    return { label, fill, length, start };
  });
  return (
    <div className="waterfall">
      {rows.map((row) => (
        <Row key={row.label} {...row} whole={whole} />
      ))}
      <strong>Total</strong>
      <span />
      <strong className="right num">{millis(total)}</strong>
    </div>
  );
}

function Row({
  label,
  fill,
  length,
  start,
  whole,
}: {
  label: string;
  fill: string;
  length: number | null;
  start: number;
  whole: number;
}) {
  const percent = (value: number) => `${Math.min(100, (value / whole) * 100)}%`;
  return (
    <>
      <span className={length === null ? "dim" : ""}>{label}</span>
      <span className="track">
        {length !== null && (
          <i style={{ left: percent(start), width: percent(length), background: fill }} />
        )}
      </span>
      <span className={`right num${length === null ? " dim" : ""}`}>
        {length === null ? "–" : millis(length)}
      </span>
    </>
  );
}
