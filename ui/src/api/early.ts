interface Early {
  answers: Record<string, Promise<Response> | undefined>;
  /** That they were asked about; `null`: the one of the key. */
  namespace: string | null;
  at: number;
}

declare global {
  interface Window {
    tocsinEarly?: Early;
  }
}

/** Milliseconds after which an answer is too old to be the first one. */
const FRESH = 5_000;

/**
 * `fetch`, which hands out what `early.js` has asked for already, while this script was on its way.
 * Each answer is given once; and none about another namespace than the one that is asked about.
 */
export async function earlyFetch(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const asked = request.method === "GET" ? take(url.pathname + url.search, request.headers) : null;
  if (asked) {
    try {
      const response = await asked;
      if (response.ok && !request.signal.aborted) return response;
    } catch {
      // Asked again, as if it had never been.
    }
  }
  return fetch(request);
}

function take(path: string, headers: Headers): Promise<Response> | null {
  const early = window.tocsinEarly;
  const answer = early?.answers[path];
  if (!early || !answer) return null;
  delete early.answers[path];
  const fresh = Date.now() - early.at < FRESH;
  // Where none was chosen, that of the key is meant, in both.
  const same = early.namespace === null || early.namespace === headers.get("Tocsin-Namespace");
  return fresh && same ? answer : null;
}
