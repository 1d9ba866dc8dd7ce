import type { CSSProperties, ReactNode } from "react";
import type { Chunks } from "../api/chunks";
import { Lines } from "./Panel";
import { useLinks } from "./useLinks";
import type { useWindowRows } from "./useWindowRows";

/** Where a row of a long list is put. */
export interface Place {
  index: number;
  top: number;
  height: number;
}

/** What a row's element is placed by. */
export function placed({ top, height }: { top: number; height: number }): CSSProperties {
  return { height, transform: `translateY(${top}px)` };
}

/** The rows of a long list that are in sight; for one that is on its way, an empty place. */
export function WindowRows<T>({
  list,
  sight,
  empty,
  row,
}: {
  list: Chunks<T>;
  sight: ReturnType<typeof useWindowRows>;
  /** What is said where there is none. */
  empty: string;
  row: (one: T, place: Place) => ReactNode;
}) {
  const follow = useLinks();
  const { ref, rows, total, margin } = sight;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: a key on a link is a click
    <div
      ref={ref}
      role="rowgroup"
      className="vgrid"
      style={{ height: total || undefined }}
      data-testid="rows"
      data-old={list.old || undefined}
      aria-busy={list.pending || undefined}
      onClick={follow}
    >
      {list.pending && <Lines count={8} />}
      {!list.pending && !list.error && list.count === 0 && <div className="blank">{empty}</div>}
      {rows.map(({ index, start, size }) => {
        const place = { index, top: start - margin, height: size };
        const one = list.at(index);
        if (one) return row(one, place);
        return <div key={index} className="vrow coming" style={placed(place)} />;
      })}
    </div>
  );
}
