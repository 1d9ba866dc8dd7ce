import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { serverTime } from "../lib/clock";
import { useZone } from "../lib/prefs";
import { exactTime, relative } from "../lib/time";

const OPEN_AFTER = 250;
const CLOSE_AFTER = 120;
const GAP = 7;
const EDGE = 6;

interface Shown {
  on: HTMLElement;
  text: string;
}

/**
 * The hints of the whole page: one element for everything that carries `data-tip` (a text) or
 * `data-at` (an instant, whose exact time is shown). A list has hundreds of these, and to make
 * each of them a component of its own is most of what scrolling would cost.
 *
 * It opens on hover, focus and touch; it can be pointed at, and Escape closes it.
 */
export function Tips() {
  const zone = useZone();
  const [shown, setShown] = useState<Shown | null>(null);
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let current: HTMLElement | null = null;
    const show = () => {
      const text = current?.isConnected ? textOf(current, zone) : "";
      setShown(current && text ? { on: current, text } : null);
    };
    // A picture says something else for each of its places.
    const changes = new MutationObserver(show);
    const later = (on: HTMLElement | null, after: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        current = on;
        changes.disconnect();
        if (on) changes.observe(on, { attributeFilter: ["data-tip"] });
        show();
      }, after);
    };
    const onOver = (event: Event) => {
      const target = event.target as Element;
      // Who points at the hint itself reads it.
      if (target.closest?.(".tip")) {
        clearTimeout(timer);
        return;
      }
      const on = target.closest?.<HTMLElement>("[data-tip], [data-at]") ?? null;
      if (on === current) clearTimeout(timer);
      else later(on, on ? OPEN_AFTER : CLOSE_AFTER);
    };
    const onFocus = (event: FocusEvent) => {
      const target = event.target as Element;
      const on = target.matches(":focus-visible")
        ? (target.closest<HTMLElement>("[data-tip], [data-at]") ??
          target.querySelector<HTMLElement>("[data-tip], [data-at]"))
        : null;
      later(on, on ? OPEN_AFTER : 0);
    };
    const onTouch = (event: PointerEvent) => {
      if (event.pointerType !== "touch") {
        if (current) later(null, 0);
        return;
      }
      const on = (event.target as Element).closest<HTMLElement>("[data-tip], [data-at]");
      later(on, 0);
    };
    const close = () => {
      if (current) later(null, 0);
      else clearTimeout(timer);
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("pointerover", onOver);
    document.addEventListener("pointerdown", onTouch);
    document.addEventListener("focusin", onFocus);
    document.addEventListener("focusout", close);
    document.addEventListener("keydown", onKey);
    window.addEventListener("scroll", close, { capture: true, passive: true });
    return () => {
      clearTimeout(timer);
      changes.disconnect();
      document.removeEventListener("pointerover", onOver);
      document.removeEventListener("pointerdown", onTouch);
      document.removeEventListener("focusin", onFocus);
      document.removeEventListener("focusout", close);
      document.removeEventListener("keydown", onKey);
      window.removeEventListener("scroll", close, { capture: true });
    };
  }, [zone]);

  useLayoutEffect(() => {
    const tip = box.current;
    if (!tip || !shown) return;
    const of = shown.on.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const above = of.top - own.height - GAP;
    const left = of.left + of.width / 2 - own.width / 2;
    tip.style.top = `${above >= EDGE ? above : of.bottom + GAP}px`;
    tip.style.left = `${Math.max(EDGE, Math.min(left, document.documentElement.clientWidth - own.width - EDGE))}px`;
    tip.style.visibility = "visible";
    shown.on.setAttribute("aria-describedby", "tip");
    return () => shown.on.removeAttribute("aria-describedby");
  }, [shown]);

  if (!shown) return null;
  return (
    <div className="tip" id="tip" role="tooltip" ref={box} key={shown.text}>
      {shown.text}
    </div>
  );
}

function textOf(on: HTMLElement, zone: string): string {
  if (on.dataset.at === undefined) return on.dataset.tip ?? "";
  const at = Number(on.dataset.at);
  return `${exactTime(at, zone)}\n${relative(at, serverTime.now())}`;
}
