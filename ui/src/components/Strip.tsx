import { type MouseEvent, memo } from "react";
import { useNavigate } from "react-router";
import type { GlanceOut } from "../api/schema";
import { useZone } from "../lib/prefs";
import { barsOf, HEIGHT, STEP, summaryOf, wordsOf } from "../lib/strip";

/**
 * The last results of a job, oldest at the left: height is duration, a failure is always full, and
 * what did not run is hollow. One picture, because a list has dozens of these: what is pointed at
 * is told from the place, and a click goes to it.
 */
export const Strip = memo(function Strip({
  executions,
  slots = 20,
}: {
  executions: readonly GlanceOut[];
  slots?: number;
}) {
  const zone = useZone();
  const navigate = useNavigate();
  const shown = executions.slice(0, slots).reverse();
  const at = (event: MouseEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const slot = Math.floor(((event.clientX - box.left) / box.width) * slots);
    return shown[slot - (slots - shown.length)];
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: by keys one goes through the job's page
    <svg
      className="strip"
      viewBox={`0 0 ${slots * STEP} ${HEIGHT}`}
      width={slots * STEP}
      height={HEIGHT}
      role="img"
      aria-label={summaryOf(shown)}
      data-tip=""
      onPointerMove={(event) => {
        const one = at(event);
        event.currentTarget.dataset.tip = one ? wordsOf(one, zone) : "";
      }}
      onClick={(event) => {
        const one = at(event);
        if (one) void navigate(`/executions/${one.id}`);
      }}
    >
      {barsOf(shown, slots).map(([tone, path]) => (
        <path key={tone} className={`bar-${tone}`} d={path} />
      ))}
    </svg>
  );
});
