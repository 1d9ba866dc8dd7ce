import {
  IconBan,
  IconCheck,
  IconCircleDot,
  IconClockHour4,
  IconFlag,
  IconLoader2,
  IconPlayerPause,
  IconPlayerSkipForward,
  IconTrash,
  IconX,
} from "@tabler/icons-react";
import type { ReactNode } from "react";
import { stateWords, statusWords } from "../lib/words";

const size = { size: 14, stroke: 2.25, "aria-hidden": true } as const;

// Each has a shape of its own: colour is never the only sign.
const STATE_ICONS: Record<string, ReactNode> = {
  pending: <IconClockHour4 {...size} />,
  claimed: <IconLoader2 {...size} className="turning" />,
  succeeded: <IconCheck {...size} />,
  failed: <IconX {...size} />,
  cancelled: <IconBan {...size} />,
  skipped: <IconPlayerSkipForward {...size} />,
};

const STATUS_ICONS: Record<string, ReactNode> = {
  active: <IconCircleDot {...size} />,
  paused: <IconPlayerPause {...size} />,
  completed: <IconFlag {...size} />,
  cancelled: <IconBan {...size} />,
  deleted: <IconTrash {...size} />,
};

/** How an execution stands: a shape, a colour and a word. */
export function StateBadge({ state, extra }: { state: string; extra?: ReactNode }) {
  const { label, tone } = stateWords(state);
  return (
    <span className={`state tone-${tone}`} data-state={state}>
      {STATE_ICONS[state] ?? <IconCircleDot {...size} />}
      {label}
      {extra}
    </span>
  );
}

/** The same without the word, for narrow places; the word is there for those who cannot see. */
export function StateMark({ state }: { state: string }) {
  const { label, tone } = stateWords(state);
  return (
    <span className={`state tone-${tone}`} role="img" aria-label={label} title={label}>
      {STATE_ICONS[state] ?? <IconCircleDot {...size} />}
    </span>
  );
}

/** Where a job is in its life. */
export function StatusBadge({ status }: { status: string }) {
  const { label, tone } = statusWords(status);
  return (
    <span className={`state tone-${tone}`} data-status={status}>
      {STATUS_ICONS[status] ?? <IconCircleDot {...size} />}
      {label}
    </span>
  );
}
