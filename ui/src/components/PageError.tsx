import { Button, Container } from "@mantine/core";
import { isRouteErrorResponse, Link, useRouteError } from "react-router";

/** A page that broke; the rest of the UI goes on. */
export function PageError({ whole = false }: { whole?: boolean }) {
  const error = useRouteError();
  const message = isRouteErrorResponse(error)
    ? `${error.status} ${error.statusText}`
    : error instanceof Error
      ? error.message
      : String(error);
  // A new version was installed meanwhile: the files of the old one are gone.
  const outdated = /dynamically imported module|Importing a module script/i.test(message);
  return (
    <Container size="sm" py={whole ? 80 : 24}>
      <h1>{outdated ? "Tocsin was updated" : "This page broke"}</h1>
      <p className="dim">
        {outdated
          ? "Load the page again to get the new version."
          : "Nothing was lost on the server. If it happens again, please report it with this message:"}
      </p>
      {!outdated && <pre className="code wrap">{message}</pre>}
      <p style={{ display: "flex", gap: 8 }}>
        <Button onClick={() => window.location.reload()}>Load again</Button>
        <Button variant="default" component={Link} to="/" reloadDocument>
          To the overview
        </Button>
      </p>
    </Container>
  );
}
