import type { ReactNode } from "react";

/** What may be wider than the screen, to be scrolled by keys too. */
export function ScrollX({
  label,
  children,
  panel = false,
}: {
  label: string;
  children: ReactNode;
  panel?: boolean;
}) {
  return (
    <section
      className={`scroll-x${panel ? " panel" : ""}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
      tabIndex={0}
      aria-label={`Table: ${label}`}
    >
      {children}
    </section>
  );
}
