import { Skeleton } from "@mantine/core";
import type { ReactNode } from "react";

/** A part of a page with its heading. */
export function Panel({
  title,
  aside,
  children,
  flush = false,
}: {
  title: string;
  aside?: ReactNode;
  children: ReactNode;
  flush?: boolean;
}) {
  return (
    <section className="panel" aria-label={title}>
      <div className="panel-head">
        <h2>{title}</h2>
        {aside !== undefined && <div className="aside">{aside}</div>}
      </div>
      {flush ? children : <div className="panel-body">{children}</div>}
    </section>
  );
}

/** A number with what it means. */
export function Figure({
  label,
  value,
  unit,
  note,
  tone,
}: {
  label: string;
  value: ReactNode;
  unit?: string;
  note?: ReactNode;
  tone?: string;
}) {
  return (
    <div className="figure">
      <div className="label">{label}</div>
      <div className={`value${tone ? ` tone-${tone}` : ""}`}>
        {value} {unit && <small>{unit}</small>}
      </div>
      {note !== undefined && <div className="sub">{note}</div>}
    </div>
  );
}

/** Where lines are going to be. */
export function Lines({ count = 4, height = 14 }: { count?: number; height?: number }) {
  return (
    <div className="grid" style={{ gap: 12, padding: "8px 14px 14px" }} aria-busy="true">
      {Array.from({ length: count }, (_, index) => (
        <Skeleton key={index} height={height} width={`${90 - ((index * 17) % 40)}%`} />
      ))}
    </div>
  );
}
