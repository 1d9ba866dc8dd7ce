import { useEffect } from "react";

/** What the tab is called while the page is there. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Tocsin` : "Tocsin";
  }, [title]);
}
