import type { ComponentType } from "react";
import { createBrowserRouter } from "react-router";
import { PageError } from "./components/PageError";
import { NotFound } from "./pages/NotFound";
import Overview from "./pages/Overview";
import { Root } from "./Root";

type Page = { default: ComponentType };

/** A page whose code is fetched when it is visited first. */
function page(load: () => Promise<Page>) {
  return async () => ({ Component: (await load()).default });
}

export const router = createBrowserRouter([
  {
    path: "/",
    element: <Root />,
    errorElement: <PageError whole />,
    children: [
      {
        // Errors of a page leave the frame around it standing.
        errorElement: <PageError />,
        children: [
          { index: true, element: <Overview /> },
          { path: "timeline", lazy: page(() => import("./pages/Timeline")) },
          { path: "jobs", lazy: page(() => import("./pages/Jobs")) },
          { path: "jobs/new", lazy: page(() => import("./pages/Editor")) },
          { path: "jobs/:ref", lazy: page(() => import("./pages/Job")) },
          { path: "jobs/:ref/edit", lazy: page(() => import("./pages/Editor")) },
          { path: "executions", lazy: page(() => import("./pages/Executions")) },
          { path: "executions/:ref", lazy: page(() => import("./pages/Execution")) },
          { path: "cluster", lazy: page(() => import("./pages/Cluster")) },
          { path: "keys", lazy: page(() => import("./pages/Keys")) },
          { path: "secrets", lazy: page(() => import("./pages/Secrets")) },
          { path: "audit", lazy: page(() => import("./pages/Audit")) },
          { path: "sign-in", lazy: page(() => import("./pages/SignIn")) },
          { path: "*", element: <NotFound /> },
        ],
      },
    ],
  },
]);
