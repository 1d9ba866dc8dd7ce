// Runs before the page's own script is there, and before anything is painted.
(() => {
  let chosen = "auto";
  let namespace = null;
  try {
    chosen = localStorage.getItem("mantine-color-scheme-value") || "auto";
    namespace = localStorage.getItem("tocsin.namespace");
  } catch {}

  // The colour scheme that was chosen, so that a dark page never flashes.
  const dark =
    chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");

  // What the first page asks for, asked while its script is still on its way: `api/early.ts` hands
  // these answers out, each once.
  const answers = {};
  const ask = (path) => {
    answers[path] = fetch(path, { headers: namespace ? { "Tocsin-Namespace": namespace } : {} });
    answers[path].catch(() => {});
    return answers[path];
  };
  window.tocsinEarly = { answers, namespace, at: Date.now() };
  const overview = location.pathname === "/" && location.search === "";
  const features = document.querySelector('meta[name="tocsin-features"]')?.content ?? "";
  const session = features.split(" ").includes("session");
  const rest = () => {
    ask("/healthz");
    if (!overview) return;
    ask("/api/v1/stats?window=1h&step=1m");
    ask("/readyz");
    ask("/api/v1/cluster");
    ask("/api/v1/jobs?last_result=failed&status=active&status=paused&limit=8&sort=name");
    ask("/api/v1/executions?state=skipped&state=cancelled&limit=8");
  };
  if (!session) rest();
  else {
    ask("/api/v1/session")
      .then((answer) => answer.ok && rest())
      .catch(() => {});
  }
})();
