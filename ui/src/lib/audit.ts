const VERBS: Record<string, string> = {
  create: "Created",
  update: "Changed",
  delete: "Deleted",
  pause: "Paused",
  resume: "Resumed",
  trigger: "Triggered",
  try: "Sent a test call of",
  cancel: "Cancelled",
  retry: "Ran again",
  revoke: "Revoked",
  rotate: "Replaced",
  recover: "Recovered",
  set: "Set",
  rekey: "Encrypted anew",
  reveal: "Looked at",
  expire: "Removed old entries of",
};

const SUBJECTS: Record<string, string> = {
  signing: "signing key",
  audit: "audit log",
  jobs: "several jobs",
};

/** What was done, in words; `signed in` and `signed out` say it better than what happens to a session. */
export function actionWords(action: string): string {
  if (action === "session.create") return "Signed in";
  if (action === "session.delete") return "Signed out";
  return VERBS[action.slice(action.indexOf(".") + 1)] ?? action;
}

/** What it was done to. */
export function subjectWords(type: string): string {
  return SUBJECTS[type] ?? type;
}

/**
 * What an entry says of the change, a line for each thing that is not as it was: from what it was to
 * what it is, by the names that the API has.
 */
export function changeLines(before: unknown, after: unknown): string[] {
  const from = leaves(before);
  const to = leaves(after);
  const lines: string[] = [];
  for (const name of new Set([...from.keys(), ...to.keys()])) {
    const [was, is] = [from.get(name), to.get(name)];
    if (was === is) continue;
    const label = name ? `${name}: ` : "";
    if (was === undefined) lines.push(`${label}${is}`);
    else if (is === undefined) {
      // Nothing is said of afterwards: it is what the entry is about, and not what was taken away.
      lines.push(
        after === null || after === undefined ? `${label}${was}` : `${label}${was} → none`,
      );
    } else lines.push(`${label}${was} → ${is}`);
  }
  return lines;
}

/** The values that are in a JSON value, by the path that leads to them; what is empty is left out. */
function leaves(value: unknown, path = "", found = new Map<string, string>()): Map<string, string> {
  if (value === null || value === undefined || value === "") return found;
  if (typeof value === "object" && !Array.isArray(value)) {
    for (const [name, one] of Object.entries(value)) {
      leaves(one, path ? `${path}.${name}` : name, found);
    }
    return found;
  }
  const plain = Array.isArray(value) && value.every((one) => typeof one !== "object");
  if (plain && value.length === 0) return found;
  found.set(
    path,
    plain ? value.join(", ") : typeof value === "string" ? value : JSON.stringify(value),
  );
  return found;
}
