import { useSyncExternalStore } from "react";
import { LOCAL_ZONE } from "./time";

const KEY = "tocsin.zone";
const listeners = new Set<() => void>();
let zone = read();

function read(): string {
  try {
    const stored = localStorage.getItem(KEY);
    if (stored && isZone(stored)) return stored;
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  return LOCAL_ZONE;
}

export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Shows all times in another zone from now on. */
export function setZone(name: string): void {
  zone = name;
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // See above.
  }
  for (const listener of listeners) listener();
}

/** The zone that times are shown in. */
export function useZone(): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => zone,
    () => zone,
  );
}

/** Every zone that this browser knows. */
export function allZones(): string[] {
  const known = Intl.supportedValuesOf("timeZone");
  return known.includes("UTC") ? known : ["UTC", ...known];
}

const KEYS = "tocsin.single-keys";

/**
 * Whether single letters are shortcuts. Who speaks to the computer, or hits keys by accident, must
 * be able to do without (WCAG 2.1.4).
 */
export const singleKeys = {
  get(): boolean {
    try {
      return localStorage.getItem(KEYS) !== "off";
    } catch {
      return true;
    }
  },

  set(on: boolean): void {
    try {
      localStorage.setItem(KEYS, on ? "on" : "off");
    } catch {
      // Without storage they stay on.
    }
  },
};
