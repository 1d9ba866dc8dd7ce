import { useEffect, useRef } from "react";
import { useNavigate } from "react-router";
import type { NavItem } from "../lib/nav";
import { singleKeys } from "../lib/prefs";

interface Wiring {
  items: readonly NavItem[];
  openPalette: () => void;
  openHelp: () => void;
  refresh: () => void;
}

/** Keys that work everywhere, for the help sheet. */
export const GENERAL_KEYS = [
  { keys: ["Ctrl", "K"], does: "Search and commands" },
  { keys: ["?"], does: "This sheet" },
  { keys: ["/"], does: "Into the search field of the page" },
  { keys: ["n"], does: "New job" },
  { keys: ["r"], does: "Read everything again" },
] as const;

export const LIST_KEYS = [
  { keys: ["j"], does: "Next row" },
  { keys: ["k"], does: "Previous row" },
  { keys: ["Enter"], does: "Open the row" },
  { keys: ["x"], does: "Select the row" },
  { keys: ["Esc"], does: "Select nothing" },
] as const;

export const JOB_KEYS = [
  { keys: ["t"], does: "Trigger now" },
  { keys: ["p"], does: "Pause or resume" },
  { keys: ["e"], does: "Edit" },
] as const;

function typing(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  return Boolean(
    target?.closest("input, textarea, select, [contenteditable], [role=dialog], [role=menu]"),
  );
}

/** Keys of the whole UI: Ctrl-K, `?`, `/`, `n`, and `g` followed by the letter of a page. */
export function useShortcuts({ items, openPalette, openHelp, refresh }: Wiring): void {
  const navigate = useNavigate();
  const latest = useRef({ items, openPalette, openHelp, refresh });
  useEffect(() => {
    latest.current = { items, openPalette, openHelp, refresh };
  });
  useEffect(() => {
    let went = 0;
    const onKey = (event: KeyboardEvent) => {
      const now = latest.current;
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        now.openPalette();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
      if (!singleKeys.get()) return;
      if (Date.now() - went < 1_200) {
        went = 0;
        const item = now.items.find((one) => one.key === event.key);
        if (item) {
          event.preventDefault();
          event.stopImmediatePropagation();
          void navigate(item.path);
          return;
        }
      }
      if (event.key === "g") {
        went = Date.now();
      } else if (event.key === "?") {
        now.openHelp();
      } else if (event.key === "r") {
        now.refresh();
      } else if (event.key === "n") {
        void navigate("/jobs/new");
      } else if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("[data-page-search]");
        event.preventDefault();
        if (search) search.focus();
        else now.openPalette();
      }
    };
    // In the capture phase, so that a letter after `g` does not reach the keys of a page.
    window.addEventListener("keydown", onKey, true);
    return () => window.removeEventListener("keydown", onKey, true);
  }, [navigate]);
}

/** Single keys of one page; not while somebody types. */
export function useKeys(bindings: Record<string, () => void>): void {
  const latest = useRef(bindings);
  useEffect(() => {
    latest.current = bindings;
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
      const act = latest.current[event.key];
      if (!act || (event.key.length === 1 && !singleKeys.get())) return;
      // Enter on a link or a button is theirs.
      if (event.key === "Enter" && (event.target as HTMLElement).closest("a, button")) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
