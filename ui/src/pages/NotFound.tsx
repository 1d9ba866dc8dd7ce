import { Button } from "@mantine/core";
import { Link } from "react-router";

export function NotFound({ what = "page", why }: { what?: string; why?: string }) {
  return (
    <div style={{ padding: "48px 0", maxWidth: 460 }}>
      <h1 style={{ fontSize: "1.25rem", margin: "0 0 6px" }}>There is no such {what}</h1>
      <p className="dim">
        {why ?? "The address may be mistyped, or the page belongs to another version."}
      </p>
      <Button variant="default" component={Link} to="/">
        To the overview
      </Button>
    </div>
  );
}
