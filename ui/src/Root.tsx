import { Center, Loader } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { lazy, Suspense } from "react";
import { useLocation } from "react-router";
import { LiveProvider } from "./api/liveContext";
import { SessionProvider, useSessionQuery } from "./api/session";
import { Shell } from "./components/Shell";

const SignIn = lazy(() => import("./pages/SignIn"));

/** The frame for those who are signed in, the door for those who are not. */
export function Root() {
  const { data: session, isPending } = useSessionQuery();
  const { pathname } = useLocation();
  if (isPending) {
    return (
      <Center mih="100dvh">
        <Loader size="sm" aria-label="Asking the server who you are" />
      </Center>
    );
  }
  if (!session || pathname === "/sign-in") {
    return (
      <Suspense fallback={null}>
        <SignIn />
      </Suspense>
    );
  }
  return (
    <SessionProvider session={session}>
      <LiveProvider>
        {/* Within the router: they hold links. */}
        <Notifications position="bottom-right" limit={4} />
        <Shell />
      </LiveProvider>
    </SessionProvider>
  );
}
