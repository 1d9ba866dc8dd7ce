import type { ReactElement } from "react";

/** A control that is there, but disabled with its reason, where it cannot be used. */
export function Guarded({
  reason,
  children,
}: {
  reason: string | null;
  children: (disabled: boolean) => ReactElement;
}) {
  if (reason === null) return children(false);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the reason must be reachable by keys
    <span style={{ display: "inline-block" }} tabIndex={0} data-tip={reason}>
      {children(true)}
    </span>
  );
}
