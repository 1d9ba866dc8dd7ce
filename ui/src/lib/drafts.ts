import { EMPTY, type Form } from "./form";

/** What the names of drafts begin with, among what this tab keeps. */
export const DRAFTS = "tocsin.draft.";

/** What was typed and not saved; `null` where there is nothing, or nothing that can be read. */
export function readDraft(key: string): Form | null {
  try {
    const text = sessionStorage.getItem(key);
    if (!text) return null;
    const found = JSON.parse(text) as Partial<Form>;
    // One of another version may lack what this one has.
    return found.schedule && found.target && found.retry ? ({ ...EMPTY, ...found } as Form) : null;
  } catch {
    return null;
  }
}

/** Keeps it in this tab, where the browser allows that. */
export function writeDraft(key: string, form: Form): void {
  try {
    sessionStorage.setItem(key, JSON.stringify(form));
  } catch {
    // Full or forbidden: the page itself still has it.
  }
}

/** Whether anything was typed here that is not saved. */
export function hasDraft(): boolean {
  try {
    return Object.keys(sessionStorage).some((key) => key.startsWith(DRAFTS));
  } catch {
    return false;
  }
}
