import { Button, PasswordInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { ask } from "../api/client";
import { ApiError, messageOf } from "../api/problem";
import { features } from "../api/session";
import { Bell } from "../components/Bell";
import { hasDraft } from "../lib/drafts";
import { useTitle } from "../lib/useTitle";

export default function SignIn() {
  useTitle("Sign in");
  const client = useQueryClient();
  const navigate = useNavigate();
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const tried = useRef(false);

  async function signIn(given: string) {
    setBusy(true);
    setError(null);
    try {
      await ask("POST", "/api/v1/session", { key: given.trim() });
      await client.resetQueries();
      // The way back to where somebody was asked for the key.
      if (window.location.pathname === "/sign-in") void navigate("/", { replace: true });
    } catch (problem) {
      const refused = problem instanceof ApiError && problem.status === 401;
      setError(
        refused ? "This key is not valid: mistyped, expired or revoked." : messageOf(problem),
      );
    } finally {
      setBusy(false);
    }
  }

  // biome-ignore lint/correctness/useExhaustiveDependencies: once, for a link that holds the key
  useEffect(() => {
    const found = /^#key=(.+)$/.exec(window.location.hash)?.[1];
    if (!found || tried.current) return;
    tried.current = true;
    // Not into the history, and not onto a screen that is shared.
    window.history.replaceState(null, "", window.location.pathname);
    void signIn(decodeURIComponent(found));
  }, []);

  useEffect(() => {
    if (!features.has("session")) void navigate("/", { replace: true });
  }, [navigate]);

  return (
    <main className="sign-in">
      <div style={{ display: "flex", alignItems: "center", gap: 12, marginBottom: 20 }}>
        <Bell size={34} />
        <h1 style={{ margin: 0, fontSize: "1.375rem", letterSpacing: "-0.02em" }}>Tocsin</h1>
      </div>
      <form
        className="panel"
        style={{ padding: 20 }}
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          void signIn(key);
        }}
      >
        <PasswordInput
          label="API key"
          description="The first one was told on standard error when Tocsin was started for the first time."
          placeholder="tcs_…"
          autoComplete="current-password"
          autoFocus
          value={key}
          error={error}
          onChange={(event) => setKey(event.currentTarget.value)}
        />
        <Button type="submit" fullWidth mt={14} size="sm" loading={busy} disabled={!key.trim()}>
          Sign in
        </Button>
      </form>
      {hasDraft() && (
        <p style={{ marginTop: 14 }}>
          What you typed is kept, and is there when you are signed in.
        </p>
      )}
      <p className="dim" style={{ marginTop: 14 }}>
        The key stays in a cookie that scripts cannot read, until you sign out.
      </p>
    </main>
  );
}
