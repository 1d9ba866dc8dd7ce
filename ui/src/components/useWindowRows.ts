import { useMediaQuery } from "@mantine/hooks";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type RefObject, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Rows of a long list of which only those in sight exist, scrolled with the page. */
export function useWindowRows({
  count,
  height,
  phoneHeight,
  show,
}: {
  count: number;
  height: number;
  phoneHeight: number;
  /** Told which rows are in sight. */
  show: (first: number, last: number) => void;
}) {
  const phone = usePhone();
  const ref = useRef<HTMLDivElement>(null);
  const margin = useOffset(ref);
  const size = phone ? phoneHeight : height;
  const virtual = useWindowVirtualizer({
    count,
    estimateSize: () => size,
    overscan: 8,
    scrollMargin: margin,
    // Painting within the event of the wheel is what makes it wait for its turn.
    useFlushSync: false,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: rows are as high as the screen is wide
  useEffect(() => virtual.measure(), [size, virtual]);
  const rows = virtual.getVirtualItems();
  const first = rows[0]?.index ?? 0;
  const last = rows.at(-1)?.index ?? 0;
  useEffect(() => show(first, last), [show, first, last]);
  return {
    ref,
    rows,
    first,
    last,
    total: virtual.getTotalSize(),
    margin,
    phone,
    scrollTo: virtual.scrollToIndex,
  };
}

/** Whether rows have two lines, because the screen is narrow. */
export function usePhone(): boolean {
  return (
    useMediaQuery("(max-width: 760px)", undefined, { getInitialValueInEffect: false }) ?? false
  );
}

function useOffset(ref: RefObject<HTMLDivElement | null>): number {
  const [offset, setOffset] = useState(0);
  useLayoutEffect(() => {
    const measure = () => {
      const box = ref.current?.getBoundingClientRect();
      if (box) setOffset(Math.round(box.top + window.scrollY));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, [ref]);
  return offset;
}
