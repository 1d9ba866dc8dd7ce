"""``tocsin status``: a server at a glance."""

from typing import TYPE_CHECKING, Any

import typer

from tocsin.cli.failure import ExitCode
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server

if TYPE_CHECKING:
    from tocsin.cli.client import Client


def status(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show whether the server fires, its counts and what is next; fails where it is not ready."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import print_json

    with Client(server) as client:
        answer = client.probe("/readyz")
        ready = answer.is_success
        try:
            readiness = answer.json()
        except ValueError:
            readiness = {}
        stats = client.get("/stats")
        cluster = _cluster(client)
        address = client.server
    if as_json:
        print_json(
            {
                "server": address,
                "ready": ready,
                "readiness": readiness,
                "stats": stats,
                "cluster": cluster,
            }
        )
    else:
        _print_status(address, ready, readiness, stats, cluster)
    if not ready:
        raise typer.Exit(int(ExitCode.FAILED))


def _cluster(client: "Client") -> dict[str, Any]:
    """The nodes; empty where the server is of a version that does not show them."""
    from tocsin.cli.client import ServerRefused

    try:
        found: dict[str, Any] = client.get("/cluster")
    except ServerRefused as error:
        if error.status != 404:
            raise
        return {}
    return found


def _print_status(
    address: str,
    ready: bool,
    readiness: dict[str, Any],
    stats: dict[str, Any],
    cluster: dict[str, Any],
) -> None:
    from rich.text import Text

    from tocsin.cli.output import Listing, Sheet, console, state
    from tocsin.cli.times import milliseconds, now_ms, relative

    out = console()
    table = Sheet()
    word = Text("ready", style="green") if ready else Text("not ready", style="bold red")
    table.add("Server", Text(f"{address}  ").append_text(word))
    for check in readiness.get("checks") or ():
        if not check.get("ok"):
            table.add("", Text(f"{check.get('name')}: {check.get('detail')}", style="red"))
    if leases := (cluster.get("totals") or {}).get("leases"):
        table.add("Nodes", _counts(leases, state))
    table.add("Jobs", _counts(stats.get("jobs") or {}, state))
    executions = dict(stats.get("executions") or {})
    live = {name: executions.pop(name) for name in ("pending", "claimed") if name in executions}
    table.add("Live", _counts(live, state))
    table.add(f"Last {stats.get('window') or '1h'}", _counts(executions, state))
    lateness = stats.get("lateness_ms") or {}
    shown = [
        f"{name} {milliseconds(lateness[name])}"
        for name in ("p50", "p95", "p99")
        if lateness.get(name) is not None
    ]
    if shown:
        table.add("Lateness", "   ".join(shown))
    if (ratio := stats.get("success_ratio")) is not None:
        style = "green" if ratio == 1 else "yellow"
        table.add("Success", Text(f"{100 * ratio:.4g} %", style=style))
    table.print()
    fires = stats.get("next_fires") or []
    if fires:
        now = now_ms()
        out.print()
        coming = Listing("NEXT FIRES", "JOB", flexible=("JOB",))
        for fire in fires:
            coming.add(relative(fire.get("due"), now), str(fire.get("job_name")))
        coming.print("")


def _counts(counts: dict[str, Any], style: Any) -> Any:
    from rich.text import Text

    text = Text()
    for name, count in counts.items():
        if not isinstance(count, int):
            continue
        if text:
            text.append("   ")
        text.append(f"{count:,} ", style="bold" if count else "dim")
        text.append_text(style(name) if count else Text(name, style="dim"))
    return text
