import type { Role } from "../api/session";

export interface NavItem {
  path: string;
  label: string;
  group: "Watch" | "Work" | "Tell" | "System";
  /** The key that follows `g`. */
  key: string;
  /** Shown only where the server has it: `/api/v1/<feature>`. */
  feature?: string;
  needs?: Role;
}

/** Every place there is, in its order; what the server does not have is not shown. */
export const NAV: readonly NavItem[] = [
  { path: "/", label: "Overview", group: "Watch", key: "o" },
  { path: "/timeline", label: "Timeline", group: "Watch", key: "t" },
  { path: "/jobs", label: "Jobs", group: "Work", key: "j" },
  { path: "/executions", label: "Executions", group: "Work", key: "e" },
  { path: "/monitors", label: "Monitors", group: "Work", key: "m", feature: "monitors" },
  { path: "/alerts", label: "Alerts", group: "Tell", key: "a", feature: "alerts" },
  { path: "/channels", label: "Channels", group: "Tell", key: "h", feature: "channels" },
  { path: "/cluster", label: "Cluster", group: "System", key: "c" },
  { path: "/keys", label: "API keys", group: "System", key: "k", feature: "keys", needs: "admin" },
  {
    path: "/secrets",
    label: "Secrets",
    group: "System",
    key: "s",
    feature: "secrets",
    needs: "editor",
  },
  {
    path: "/audit",
    label: "Audit log",
    group: "System",
    key: "l",
    feature: "audit",
    needs: "admin",
  },
];

/** Pages that this build has; a feature of the server without a page is not shown either. */
const BUILT = new Set(["keys", "secrets", "audit"]);

/** The places that somebody with this role sees on this server. */
export function navFor(
  has: ReadonlySet<string>,
  refusal: (needs: Role) => string | null,
): NavItem[] {
  return NAV.filter(
    (item) =>
      (!item.feature || (has.has(item.feature) && BUILT.has(item.feature))) &&
      (!item.needs || refusal(item.needs) === null),
  );
}
