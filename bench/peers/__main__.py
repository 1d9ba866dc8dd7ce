"""``python -m bench.peers``: Tocsin and other schedulers under the same workloads."""

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import nginx
from bench.context import Bench
from bench.peers.others import (
    APScheduler,
    APSchedulerSQLite,
    BullMQ,
    Celery,
    GraphileWorker,
    PgBoss,
    Procrastinate,
)
from bench.peers.own import Tocsin, TocsinPostgres, TocsinPostgresTwo
from bench.peers.peer import Peer
from bench.peers.program import PeerError
from bench.peers.results import PeerResult, Results, merge, read, report
from bench.peers.workloads import ONCE, WORKLOADS
from bench.report import machine

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Tocsin(),
        TocsinPostgres(),
        TocsinPostgresTwo(),
        GraphileWorker(),
        PgBoss(),
        BullMQ(),
        APScheduler(),
        APSchedulerSQLite(),
        Celery(),
        Procrastinate(),
    )
}


def main() -> None:
    """Parse the command line, measure, print."""
    options = _options()
    if options.merge:
        results = merge([read(path) for path in options.merge], list(PEERS))
    else:
        results = _measure(options)
    if options.output:
        results.write(options.output)
    if options.markdown:
        options.markdown.write_text(report(results) + "\n")
    if options.json:
        print(json.dumps(results.to_json(), indent=2, ensure_ascii=False))
    else:
        print(report(results))
    if any(peer.errors for peer in results.peers.values()):
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="Measures Tocsin and other schedulers under the same workloads.",
        epilog=f"peers: {', '.join(PEERS)}\n\nHow to read it: bench/peers/README.md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="PEER,…", help="which of them (all)")
    parser.add_argument("--workloads", metavar="NAME,…", help=f"of {', '.join(WORKLOADS)} (all)")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: a first look")
    parser.add_argument(
        "--runs", type=int, help=f"runs of each but {', '.join(sorted(ONCE))} (3; 1 with --quick)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="everything once, then again what fits into so many minutes in all; "
        f"of {', '.join(name for name, peer in PEERS.items() if peer.slow)} one run is enough",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write JSON here, again after each workload"
    )
    parser.add_argument(
        "--merge", type=Path, nargs="+", metavar="FILE", help="measure nothing: put these together"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PEER.OPTION=VALUE",
        help="an option of a peer, such as bullmq.concurrency=300; can be repeated",
    )
    parser.add_argument(
        "--dir", type=Path, help="where files are made (by default the temporary directory)"
    )
    options = parser.parse_args()
    options.only = _names(parser, options.only, PEERS)
    options.workloads = _names(parser, options.workloads, WORKLOADS)
    options.settings = _settings(parser, options.set)
    return options


def _names(parser: argparse.ArgumentParser, given: str | None, known: Mapping[str, Any]) -> Any:
    names = given.split(",") if given else list(known)
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is not one of {', '.join(known)}")
    return [name for name in known if name in names]


def _settings(parser: argparse.ArgumentParser, pairs: list[str]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        where, equals, value = pair.partition("=")
        peer, dot, option = where.partition(".")
        if not equals or not dot or peer not in PEERS:
            parser.error(f"--set {pair}: write PEER.OPTION=VALUE, PEER one of {', '.join(PEERS)}")
        try:
            settings.setdefault(peer, {})[option] = json.loads(value)
        except ValueError:
            parser.error(f"--set {pair}: {value!r} is not a number")
    for peer, given in settings.items():
        try:
            PEERS[peer].options(given)
        except PeerError as error:
            parser.error(f"--set: {error}")
    return settings


def _measure(options: argparse.Namespace) -> Results:
    """Each peer alone, one after the other, in each run."""
    if nginx.program() is None:
        sys.exit("nginx is missing, which all of them call: make bench-tools")
    results = Results(machine=machine(), quick=options.quick)
    with tempfile.TemporaryDirectory(prefix="tocsin-peers-", dir=options.dir) as home:
        bench = Bench(
            home=Path(home),
            quick=options.quick,
            runs=options.runs or (1 if options.quick else 3),
        )
        chosen = {
            name: PEERS[name].options(options.settings.get(name, {})) for name in options.only
        }
        for name in options.only:
            peer = PEERS[name]
            results.peers[name] = PeerResult(
                name=name,
                title=peer.title,
                against=peer.against,
                note=peer.note,
                seconds=peer.seconds.value,
            )
        _rounds(options, bench, chosen, results)
    return results


def _rounds(
    options: argparse.Namespace,
    bench: Bench,
    chosen: Mapping[str, dict[str, Any]],
    results: Results,
) -> None:
    """Run after run; where time is given, those after the first go on while it lasts."""
    until = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    took: dict[tuple[str, str], float] = {}
    for number in range(bench.runs):
        for name, workload in _order(options, number):
            peer, result = PEERS[name], results.peers[name]
            if number == 0 and (name, "") not in took:
                began = time.monotonic()
                _prepare(peer, bench, result)
                took[name, ""] = time.monotonic() - began
            if not result.versions:
                continue  # it could not be prepared, and says so
            began = time.monotonic()
            if number and began + took[name, workload] > until:
                continue
            bench.say(f"{number + 1}/{bench.runs} {name}: {workload}")
            with _noted(result, f"{workload}, run {number + 1}"):
                result.add(WORKLOADS[workload](peer, bench, chosen[name]))
            took[name, workload] = time.monotonic() - began
            if options.output:
                results.write(options.output)


def _order(options: argparse.Namespace, number: int) -> list[tuple[str, str]]:
    """What is measured in a run: peer by peer.

    Where time is short the runs after the first go by workload, and without the slow peers.
    """
    if options.minutes is None or not number:
        return [
            (name, workload)
            for name in options.only
            for workload in options.workloads
            if not (number and workload in ONCE)
        ]
    return [
        (name, workload)
        for workload in options.workloads
        if workload not in ONCE
        for name in options.only
        if not PEERS[name].slow
    ]


def _prepare(peer: Peer, bench: Bench, result: PeerResult) -> None:
    """Find out its versions."""
    with _noted(result, "not measured"):
        versions = peer.versions()
        if peer.against == "tocsin-pg":
            ((shown,),) = bench.server.execute("SHOW server_version")
            versions += f", PostgreSQL {shown}"
        result.versions = versions


@contextlib.contextmanager
def _noted(result: PeerResult, what: str) -> Iterator[None]:
    """A context in which whatever fails becomes a line of the peer's result."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (one peer that fails must not end the run)
        line = f"{what}: {error or type(error).__name__}"
        sys.stderr.write(f"{result.name}: {line}\n")
        if not isinstance(error, PeerError):
            traceback.print_exc()
        result.errors.append(line)


if __name__ == "__main__":
    main()
