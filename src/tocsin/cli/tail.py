"""``tocsin executions tail``: what becomes of executions, as it happens."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server, job_names, one_of

if TYPE_CHECKING:
    from rich.text import Text

    from tocsin.cli.client import Client

REMEMBERED = 10_000
"""Outcomes that are kept in mind, so that none is printed twice."""

REST = 82
"""Characters of a line without the name of its job, up to the id."""

SHORTEST_ERROR = 16
"""Characters below which the message of an error is not worth its place."""

_ENDED = ("succeeded", "failed", "cancelled", "skipped")


def tail(
    *,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="Only of this job.", autocompletion=job_names, show_default=False
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help="Only succeeded, failed, cancelled, skipped or retrying; repeatable.",
            autocompletion=one_of(*_ENDED, "retrying"),
        ),
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=1_000, help="Begin with the last so many.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", "-f", help="Go on as more come in.")
    ] = True,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show outcomes of executions, one line each, as they happen; Ctrl-C ends it.

    Where the connection breaks it is made again, and nothing that the server still knows is missed.
    """
    from tocsin.cli.client import Client

    with Client(server) as client:
        tailing = Tailing(client, job=job, states=tuple(state or ()), as_json=as_json)
        if follow:
            try:
                tailing.follow(lines)
            except KeyboardInterrupt:
                raise typer.Exit from None  # the way to end it, so not a failure
        else:
            tailing.history(lines)


class Tailing:
    """Prints outcomes, each once."""

    def __init__(
        self, client: "Client", *, job: str | None, states: tuple[str, ...], as_json: bool
    ) -> None:
        self._client = client
        self._job = job
        self._states = states
        self._as_json = as_json
        self._seen: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        self._name_width = 16

    def history(self, count: int) -> None:
        """The last outcomes, oldest first."""
        if count == 0:
            return
        wanted = [state for state in self._states if state in _ENDED] or list(_ENDED)
        recent = self._client.pages("/executions", limit=count, job=self._job, state=wanted)
        ended = sorted(recent, key=lambda execution: execution.get("finished_at") or "")
        names = [str(execution.get("job_name")) for execution in ended]
        self._name_width = max([self._name_width, *map(len, names)])
        for execution in ended:
            self._show(execution)

    def follow(self, count: int) -> None:
        """The last outcomes, then what comes."""
        from tocsin.cli.output import note
        from tocsin.cli.sse import follow

        def connected(first: bool) -> None:
            # Only now, so that nothing falls into the gap between the two.
            if first:
                self.history(count)
            else:
                note("connected again")

        def lost(why: str) -> None:
            note(f"connection lost ({why}); connecting again …")

        params = {"job": self._job, "types": "execution"}
        for event in follow(self._client, "/events", params=params, connected=connected, lost=lost):
            if event.name == "reset":
                note("some events were missed; the last outcomes were:")
                self.history(max(count, 50))
                continue
            try:
                data = json.loads(event.data)
            except ValueError:
                continue
            if isinstance(data, dict) and "fire_time" in data:
                self._show(data)

    def _show(self, execution: Mapping[str, Any]) -> None:
        state = str(execution.get("state"))
        if state == "pending" and execution.get("attempt_count"):
            state = "retrying"
        elif execution.get("finished_at") is None:
            return
        if self._states and state not in self._states:
            return
        key = (execution.get("id"), state, execution.get("attempt_count"))
        if key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        if self._as_json:
            print(json.dumps(execution, ensure_ascii=False), flush=True)
        else:
            from tocsin.cli.output import console

            out = console()
            out.print(self._line(execution, out.width), soft_wrap=True)

    def _line(self, execution: Mapping[str, Any], width: int) -> "Text":
        """The line; what does not fit any more is left out, the id last."""
        from rich.text import Text

        from tocsin.cli.output import UNLIMITED, cause, late, one_line, outcome, took
        from tocsin.cli.times import now_ms

        name = str(execution.get("job_name") or execution.get("job_id"))
        self._name_width = max(self._name_width, len(name))
        line = Text(_clock(execution), style="dim").append("  ")
        shown = Text(name)
        most = width if width >= UNLIMITED else max(12, min(30, width - REST))
        shown.truncate(min(self._name_width, most), overflow="ellipsis", pad=True)
        line.append_text(shown).append("  ")
        if execution.get("finished_at") is None:
            result = Text(f"retrying {cause(execution)}", style="yellow")
        else:
            result = outcome(execution, now_ms())
        result.pad_right(max(0, 18 - result.cell_len))
        line.append_text(result)
        line.append(f"  {took(execution):>7}")
        ref = f"  {execution.get('id')}"
        delay = f"  {late(execution) + ' late':<11}" if late(execution) else ""
        if line.cell_len + len(delay) + len(ref) <= width:
            line.append(delay, style="dim")
        if line.cell_len + len(ref) <= width:
            line.append(ref, style="dim")
        error = str(execution.get("error") or "")
        if error and width - line.cell_len > SHORTEST_ERROR:
            line.append(f"  {one_line(error)}", style="red")
            line.truncate(width, overflow="ellipsis")
        line.rstrip()
        return line


def _clock(execution: Mapping[str, Any]) -> str:
    from tocsin.domain.instant import parse_instant

    at = execution.get("finished_at")
    if at is None:
        moment = datetime.now().astimezone()
    else:
        moment = datetime.fromtimestamp(parse_instant(at) / 1_000).astimezone()
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1_000:03}"
