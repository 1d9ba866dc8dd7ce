"""``tocsin nodes``."""

from collections.abc import Mapping
from typing import Any

import typer

from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server

app = typer.Typer(
    help="Look at the nodes of the cluster.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """Keep ``list`` a word of its own: typer would leave out the only command of a group."""


@app.command("list")
def list_nodes(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List the nodes with their leases and what each has on hand."""
    from rich.text import Text

    from tocsin.cli.client import Client
    from tocsin.cli.output import Listing, note, print_json_lines, state
    from tocsin.cli.times import short_span

    with Client(server) as client:
        nodes = client.get("/cluster").get("nodes") or []
    if as_json:
        print_json_lines(nodes)
        return
    table = Listing(
        *("NAME", "LEASE", "ENDS", "IN FLIGHT", "HELD", "CLOCK", "VERSION", "UPTIME", "ADDRESS"),
        flexible=("ADDRESS", "NAME"),
        right=("IN FLIGHT", "HELD", "CLOCK", "UPTIME"),
    )
    lapsed = 0
    for node in nodes:
        lease, load = node.get("lease") or {}, node.get("load") or {}
        word = str(lease.get("state") or "unknown")
        lapsed += word == "lapsed"
        table.add(
            Text(str(node.get("name")), style="bold" if node.get("this") else ""),
            state(word),
            _ends(lease),
            _part(load, "in_flight"),
            _part(load, "held"),
            _offset(node.get("clock_offset_ms")),
            str(node.get("version") or ""),
            short_span(node.get("uptime_ms") or 0),
            str(node.get("address") or ""),
        )
    table.print("no node holds a lease: nothing fires")
    if lapsed:
        note(
            f"{lapsed} lapsed: what such a node holds is taken over within seconds, "
            "unless it renews its lease before that"
        )


def _ends(lease: Mapping[str, Any]) -> str:
    """When a lease ends or ended: ``in 4.6s``, ``12s ago``."""
    from tocsin.cli.times import short_span

    remaining = lease.get("remaining_ms")
    if not isinstance(remaining, int):
        return ""
    # Leases last for seconds, so that tenths tell more than "in 4s" does.
    span = f"{abs(remaining) / 1_000:.1f}s" if abs(remaining) < 10_000 else short_span(remaining)
    return f"in {span}" if remaining >= 0 else f"{span} ago"


def _part(load: Mapping[str, Any], name: str) -> str:
    """A level with its limit: ``12/1,000``; empty where the node did not say."""
    level, limit = load.get(name), load.get(f"max_{name}")
    if not isinstance(level, int):
        return ""
    return f"{level:,}/{limit:,}" if isinstance(limit, int) else f"{level:,}"


def _offset(offset: Any) -> str:
    """What is to be added to a node's clock: ``+3 ms``."""
    if not isinstance(offset, int | float):
        return ""
    return f"{f'{offset:+,.1f}'.removesuffix('.0')} ms"
