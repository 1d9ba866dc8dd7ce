import { Button } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { messageOf } from "../api/problem";

/** What went wrong, and another try. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  return (
    <div className="note bad" role="alert">
      <IconAlertTriangle size={17} className="tone-bad" aria-hidden="true" />
      <div className="grow">{messageOf(error)}</div>
      {retry && (
        <Button variant="default" size="compact-xs" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}
