import createClient, { type Middleware } from "openapi-fetch";
import { serverTime } from "../lib/clock";
import { earlyFetch } from "./early";
import { ApiError } from "./problem";
import type { Problem, paths } from "./schema";

/** What the session adds to each request; set by `session.tsx`. */
export const credentials: {
  csrf: string | null;
  namespace: string | null;
  /** Called when the server says that nobody is signed in any more. */
  onSignedOut: () => void;
} = { csrf: null, namespace: null, onSignedOut: () => {} };

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

const session: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(sessionHeaders(request.method))) {
      request.headers.set(name, value);
    }
    return request;
  },
  onResponse({ response }) {
    serverTime.learn(response.headers.get("date"));
    if (response.status === 401) credentials.onSignedOut();
    return response;
  },
};

function sessionHeaders(method: string): Record<string, string> {
  const headers: Record<string, string> = {};
  if (credentials.namespace) headers["Tocsin-Namespace"] = credentials.namespace;
  if (credentials.csrf && !SAFE.has(method)) headers["Tocsin-CSRF"] = credentials.csrf;
  return headers;
}

/** The API, typed from its own description. */
export const api = createClient<paths>({ baseUrl: window.location.origin, fetch: earlyFetch });
api.use(session);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** What was asked for; throws an `ApiError` for everything else. */
export async function take<T>(asked: Promise<Answer<T>>): Promise<T> {
  return (await takeWhole(asked)).data as T;
}

/** The same, with the response for those who need its headers. */
export async function takeWhole<T>(asked: Promise<Answer<T>>): Promise<Answer<T>> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, undefined);
  }
  if (!answer.response.ok) {
    throw new ApiError(answer.response.status, asProblem(answer.error));
  }
  return answer;
}

/** A request to an endpoint that the description does not have yet. */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    const request = new Request(path, {
      method,
      headers: {
        ...sessionHeaders(method),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    response = await earlyFetch(request);
  } catch {
    throw new ApiError(0, undefined);
  }
  const text = await response.text();
  let parsed: unknown;
  try {
    parsed = text ? JSON.parse(text) : undefined;
  } catch {
    parsed = undefined;
  }
  if (!response.ok) {
    if (response.status === 401) credentials.onSignedOut();
    throw new ApiError(response.status, asProblem(parsed));
  }
  return parsed as T;
}

function asProblem(error: unknown): Partial<Problem> | undefined {
  return typeof error === "object" && error !== null ? (error as Partial<Problem>) : undefined;
}
