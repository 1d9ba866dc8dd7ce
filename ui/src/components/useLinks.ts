import { type MouseEvent, useCallback } from "react";
import { useNavigate } from "react-router";

/**
 * Follows plain links within an element without loading the page anew. Rows of long lists have
 * these in the place of the router's own links, each of which looks at the whole address again
 * whenever a part of it changes.
 */
export function useLinks(): (event: MouseEvent) => void {
  const navigate = useNavigate();
  return useCallback(
    (event) => {
      const link = (event.target as Element).closest?.("a[href^='/']");
      const own =
        event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
      if (!link || !own || event.defaultPrevented) return;
      event.preventDefault();
      void navigate(link.getAttribute("href") as string);
    },
    [navigate],
  );
}
