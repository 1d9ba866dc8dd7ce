import type { ErrorKind, JobStatus, Reason, State, TriggerKind } from "../api/schema";

export type Tone = "good" | "bad" | "warn" | "busy" | "quiet";

/** What a state is called, and how it is coloured; states that are not known are shown as they are. */
export function stateWords(state: string): { label: string; tone: Tone } {
  const known: Record<State, { label: string; tone: Tone }> = {
    pending: { label: "Waiting", tone: "quiet" },
    claimed: { label: "Running", tone: "busy" },
    succeeded: { label: "Succeeded", tone: "good" },
    failed: { label: "Failed", tone: "bad" },
    cancelled: { label: "Cancelled", tone: "quiet" },
    skipped: { label: "Skipped", tone: "warn" },
  };
  return known[state as State] ?? { label: state, tone: "quiet" };
}

export function statusWords(status: string): { label: string; tone: Tone } {
  const known: Record<JobStatus, { label: string; tone: Tone }> = {
    active: { label: "Active", tone: "good" },
    paused: { label: "Paused", tone: "warn" },
    completed: { label: "Completed", tone: "quiet" },
    cancelled: { label: "Cancelled", tone: "quiet" },
    deleted: { label: "Deleted", tone: "quiet" },
  };
  return known[status as JobStatus] ?? { label: status, tone: "quiet" };
}

/** Why an execution did not run, or ended without an answer. */
export function reasonWords(reason: string | null): string {
  if (reason === null) return "";
  const known: Record<Reason, string> = {
    misfire: "noticed too late",
    overlap: "the one before was still running",
    queue_full: "ten were waiting already",
    paused: "the job was paused",
    deleted: "the job was deleted",
    changed: "the job was changed",
    replaced: "a newer fire took its place",
    requested: "somebody asked for it",
    lost: "its node was lost five times in a row",
  };
  return known[reason as Reason] ?? reason;
}

/** The same in as few words as a list has room for. */
export function reasonLabel(reason: string): string {
  const known: Record<Reason, string> = {
    misfire: "too late",
    overlap: "still running",
    queue_full: "queue full",
    paused: "job paused",
    deleted: "job deleted",
    changed: "job changed",
    replaced: "replaced",
    requested: "on request",
    lost: "node lost",
  };
  return known[reason as Reason] ?? reason;
}

/** An error kind in as few words as a list has room for. */
export function kindLabel(kind: string): string {
  const known: Record<ErrorKind, string> = {
    timeout: "timed out",
    connection: "no connection",
    dns: "host not found",
    tls: "no secure connection",
    protocol: "answer was not HTTP",
    http_status: "unexpected status",
    redirect: "redirect not followed",
    blocked: "address not allowed",
    too_large: "answer too large",
    cancelled: "cancelled",
    lost: "node lost",
  };
  return known[kind as ErrorKind] ?? kind;
}

/** How an execution ended, in a word or two: its status, what was wrong, or why it did not run. */
export function outcomeLabel(one: {
  http_status?: number | null;
  error_kind?: string | null;
  reason?: string | null;
}): string {
  if (one.http_status && (!one.error_kind || one.error_kind === "http_status"))
    return `HTTP ${one.http_status}`;
  if (one.error_kind) return kindLabel(one.error_kind);
  return one.reason ? reasonLabel(one.reason) : "";
}

/** What asked for an execution. */
export function triggerLabel(trigger: string): string {
  const known: Record<TriggerKind, string> = {
    schedule: "schedule",
    manual: "by hand",
    retry: "run again",
  };
  return known[trigger as TriggerKind] ?? trigger;
}

interface Explanation {
  title: string;
  what: string;
  todo: string;
}

/** An error kind in words, and what to do about it. */
export function explain(kind: string, status: number | null): Explanation {
  const known: Record<ErrorKind, Explanation> = {
    timeout: {
      title: "The target took too long",
      what: "No complete answer came within the timeout of the attempt.",
      todo: "Each attempt says what it was waiting for. Where that is the first byte, the target works slowly: make it answer first and work later, or raise the timeout.",
    },
    connection: {
      title: "No connection",
      what: "The target's port refused the connection, or it broke before the answer was complete.",
      todo: "Check that the service runs, listens on this host and port, and that no firewall is in between.",
    },
    dns: {
      title: "The host name was not found",
      what: "The name in the URL could not be turned into an address.",
      todo: "Check the spelling of the host, and that the nodes of Tocsin use a DNS server that knows it.",
    },
    tls: {
      title: "No secure connection",
      what: "The TLS handshake failed: most often the certificate has expired, is for another name, or is signed by somebody this node does not trust.",
      todo: "Renew or correct the certificate of the target; a private authority has to be known to the nodes.",
    },
    protocol: {
      title: "The answer was not HTTP",
      what: "Something answered, but not in a way that HTTP/1.1 allows.",
      todo: "Check that the URL has the right scheme and port; an https port called by http looks like this.",
    },
    http_status: {
      title: statusTitle(status),
      what: "The target answered, with a status that this job does not count as a success.",
      todo: statusTodo(status),
    },
    redirect: {
      title: "Too many redirects, or one that cannot be followed",
      what: "The target sent the call elsewhere more often than the job allows.",
      todo: "Put the final address into the URL, or allow more redirects in the target.",
    },
    blocked: {
      title: "The address is not allowed",
      what: "The egress guard refused to call it: it is a private, loopback or otherwise reserved address.",
      todo: "If the call is meant, an administrator can allow the network with TOCSIN_EGRESS_ALLOW.",
    },
    too_large: {
      title: "The answer was too large",
      what: "Reading stopped at the limit for answers.",
      todo: "Let the target answer with less; only the beginning of an answer is kept anyway.",
    },
    cancelled: {
      title: "Cancelled while it ran",
      what: "Somebody, or a change of the job, ended the call before its answer came.",
      todo: "The target may have received the request; run it again if it is still wanted.",
    },
    lost: {
      title: "The node was lost during the call",
      what: "The node that made the call ended or lost its lease before it could note the result.",
      todo: "Nothing, as long as it is rare: the attempt is made again. Receivers tell repeats apart by webhook-id.",
    },
  };
  return (
    known[kind as ErrorKind] ?? {
      title: kind,
      what: "This version of the page does not know this kind of error.",
      todo: "Reload the page; the message below says more.",
    }
  );
}

function statusTitle(status: number | null): string {
  if (status === null) return "An unexpected status";
  if (status === 401 || status === 403) return `The target refused the call (${status})`;
  if (status === 404 || status === 410) return `There is nothing at this URL (${status})`;
  if (status === 429) return "The target wants fewer calls (429)";
  if (status >= 500) return `The target has a problem of its own (${status})`;
  return `The target answered ${status}`;
}

function statusTodo(status: number | null): string {
  if (status === 401 || status === 403)
    return "Check the credentials in the job's headers; they may have expired.";
  if (status === 404 || status === 410) return "Check the path of the URL and the method.";
  if (status === 429) return "Fire less often, or spread the fires with jitter.";
  if (status !== null && status >= 500)
    return "Look at the log of the target; Tocsin tries again as the retry policy says.";
  if (status !== null && status >= 300 && status < 400)
    return "Put the final address into the URL, or allow redirects in the target.";
  return "If this status is fine, add it to the job's success rule.";
}

export const POLICY_HELP = {
  overlap: {
    allow: "Start the new one beside it.",
    skip: "Leave the new one out; it is noted as skipped.",
    queue: "Let the new one wait; ten can wait, the rest is skipped.",
    replace: "Cancel the old one and start the new one.",
  },
  misfire: {
    latest: "Run the newest one; note the others as skipped.",
    all: "Run each of them, up to the number below.",
    skip: "Run none; note them as skipped.",
  },
  delivery: {
    at_least_once:
      "Try again when it is unknown whether the call arrived. Receivers may see repeats.",
    at_most_once: "Never repeat a call of which a byte was sent. Receivers may miss one.",
  },
} as const;
