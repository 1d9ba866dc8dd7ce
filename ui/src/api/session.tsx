import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo } from "react";
import type { Door } from "../lib/export";
import { ask, credentials } from "./client";
import { ApiError } from "./problem";

export type Role = "viewer" | "operator" | "editor" | "admin";

interface SessionOut {
  auth: "on" | "off";
  role: Role;
  namespace: string;
  namespaces?: string[] | null;
  actions?: string[];
  csrf_token?: string | null;
  key?: { id: string; name: string; prefix: string } | null;
}

export interface Session {
  auth: "on" | "off";
  role: Role;
  keyName: string | null;
  namespace: string;
  namespaces: readonly string[];
  /** `null` where the role may do it, and otherwise the reason in words. */
  refusal: (needs: Role) => string | null;
  signOut: () => Promise<void>;
  setNamespace: (name: string) => void;
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, editor: 2, admin: 3 };
const DEFAULT = "default";
const NAMESPACE_KEY = "tocsin.namespace";

/** Written when somebody signs out: other tabs are told by the browser that it has changed. */
const SIGNED_OUT = "tocsin.signed-out";

const Context = createContext<Session | null>(null);

const OPEN: SessionOut = { auth: "off", role: "admin", namespace: "default", csrf_token: null };

async function readSession(): Promise<SessionOut | null> {
  try {
    return await ask<SessionOut>("GET", "/api/v1/session");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}

/** What the server of this page has; it says so in the page itself. */
export const features: ReadonlySet<string> = new Set(
  (document.querySelector<HTMLMetaElement>('meta[name="tocsin-features"]')?.content ?? "").split(
    " ",
  ),
);

export const serverVersion =
  document.querySelector<HTMLMetaElement>('meta[name="tocsin-version"]')?.content ?? "";

/** Who is signed in: `undefined` while that is not known, `null`: nobody. */
export function useSessionQuery() {
  return useQuery({
    queryKey: ["session"],
    queryFn: () => (features.has("session") ? readSession() : OPEN),
    staleTime: Number.POSITIVE_INFINITY,
    retry: (failures, error) => error instanceof ApiError && error.unreachable && failures < 1_000,
    retryDelay: 2_000,
  });
}

export function SessionProvider({
  session,
  children,
}: {
  session: SessionOut;
  children: ReactNode;
}) {
  const client = useQueryClient();
  credentials.csrf = session.csrf_token ?? null;
  credentials.namespace = chosenNamespace(session);

  useEffect(() => {
    credentials.onSignedOut = () => client.setQueryData(["session"], null);
    // Who signs out in one tab does not leave what the others show behind.
    const onStorage = (event: StorageEvent) => {
      if (event.key === SIGNED_OUT) credentials.onSignedOut();
    };
    window.addEventListener("storage", onStorage);
    return () => {
      window.removeEventListener("storage", onStorage);
      credentials.onSignedOut = () => {};
    };
  }, [client]);

  const value = useMemo<Session>(
    () => ({
      auth: session.auth,
      role: session.role,
      keyName: session.key?.name ?? null,
      namespace: chosenNamespace(session) ?? session.namespace,
      namespaces: session.namespaces ?? [session.namespace],
      refusal: (needs) =>
        (RANK[session.role] ?? 0) >= RANK[needs]
          ? null
          : `Needs the role ${needs}; this key has the role ${session.role}.`,
      signOut: async () => {
        await ask("DELETE", "/api/v1/session");
        localStorage.setItem(SIGNED_OUT, new Date().toISOString());
        client.clear();
        window.location.assign("/sign-in");
      },
      setNamespace: (name) => {
        localStorage.setItem(NAMESPACE_KEY, name);
        window.location.assign("/");
      },
    }),
    [client, session],
  );
  return <Context value={value}>{children}</Context>;
}

/** How a program that is copied from here reaches this server. */
export function useDoor(): Door {
  const { auth, namespace } = useSession();
  return { origin: window.location.origin, key: auth === "on", namespace };
}

function chosenNamespace(session: SessionOut): string | null {
  if (session.auth === "off") return null;
  const chosen = localStorage.getItem(NAMESPACE_KEY);
  const allowed = session.namespaces;
  if (chosen && (!allowed || allowed.includes(chosen) || allowed.includes("*"))) return chosen;
  // `*`: the key holds in all of them, and a request is about one.
  return session.namespace === "*" ? DEFAULT : session.namespace;
}

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("there is no SessionProvider around");
  return session;
}
