import { useMediaQuery } from "@mantine/hooks";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type RefObject, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Rows of a long list of which only those in sight exist, scrolled with the page. */
export function useWindowRows({
  count,
  height,
  phoneHeight,
  more,
}: {
  count: number;
  height: number;
  phoneHeight: number;
  /** Fetches the next part; called when its place comes into sight. */
  more: (() => void) | null;
}) {
  const phone = useMediaQuery("(max-width: 760px)") ?? false;
  const ref = useRef<HTMLDivElement>(null);
  const margin = useOffset(ref);
  const size = phone ? phoneHeight : height;
  const virtual = useWindowVirtualizer({
    count,
    estimateSize: () => size,
    overscan: 8,
    scrollMargin: margin,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: rows are as high as the screen is wide
  useEffect(() => virtual.measure(), [size, virtual]);
  const rows = virtual.getVirtualItems();
  const last = rows.at(-1)?.index ?? -1;
  useEffect(() => {
    if (more && last >= count - 10) more();
  }, [more, last, count]);
  return {
    ref,
    rows,
    total: virtual.getTotalSize(),
    margin,
    phone,
    scrollTo: virtual.scrollToIndex,
  };
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
