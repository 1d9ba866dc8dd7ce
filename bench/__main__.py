"""``python -m bench``: run the workloads and print a table."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    batch_stages,
    burst,
    claims,
    client,
    create,
    failover,
    fairness,
    history,
    idle,
    lateness,
    loop,
    profiles,
    scaling,
    store,
    ui,
    wake,
)
from bench.context import Bench
from bench.report import Figure, machine, table

WORKLOADS: dict[str, tuple[Callable[[Bench], list[Figure]], str]] = {
    "burst": (burst.run, "10,000 one-shot jobs due at one instant"),
    "lateness": (lateness.even, "1,000 jobs every second for 20 s, spread over the second"),
    "together": (lateness.together, "the same, all at the full second"),
    "create": (create.singles, "single POSTs, 32 at once"),
    "batch": (create.batches, "batches of 1,000 jobs"),
    "client": (client.run, "Tocsin's HTTP client and others, POSTs over connections that are kept"),
    "stream": (create.streams, "jobs as lines of a stream"),
    "client-tls": (client.over_tls, "the same over TLS, and with a connection for each call"),
    "batch-stages": (batch_stages.run, "what each stage of a batch costs, alone"),
    "idle": (idle.run, "100,000 and 1,000,000 future jobs"),
    "pg-idle": (idle.on_postgres, "the same on PostgreSQL, written by SQL"),
    "pg-burst": (burst.on_postgres, "the burst on PostgreSQL, with 1, 2 and 4 processes"),
    "pg-lateness": (lateness.on_postgres, "1,000 jobs every second on two nodes on PostgreSQL"),
    "pg-claims": (claims.run, "8 claimers compete for 20,000 due timers"),
    "pg-create": (create.singles_on_postgres, "single POSTs on PostgreSQL"),
    "pg-batch": (create.batches_on_postgres, "batches on PostgreSQL"),
    "pg-stream": (create.streams_on_postgres, "streams on PostgreSQL"),
    "failover": (failover.run, "one of two nodes on PostgreSQL is killed, 10 times"),
    "store": (store.run, "claim and record alone: CPU per fire in the node and in the server"),
    "loop": (loop.run, "the event loop's side of fires alone: CPU per fire by part"),
    "history": (history.run, "10,000,000 executions on PostgreSQL"),
    "fairness": (fairness.one_host, "lone jobs beside a burst of 100,000 to one host"),
    "fairness-hosts": (fairness.many_hosts, "lone jobs beside a burst to 200 hosts"),
    "fairness-hang": (fairness.hanging, "lone jobs beside 5,000 calls to a host that hangs"),
    "pg-fairness": (fairness.one_host_on_postgres, "fairness on PostgreSQL"),
    "pg-fairness-hosts": (fairness.many_hosts_on_postgres, "fairness-hosts on PostgreSQL"),
    "pg-fairness-hang": (fairness.hanging_on_postgres, "fairness-hang on PostgreSQL"),
    "scaling": (scaling.run, "the same burst among 1,000 .. 1,000,000 other jobs"),
    "pg-scaling": (scaling.on_postgres, "the same on PostgreSQL, with 1, 2 and 4 processes"),
    "wake": (wake.run, "100,000 claims due at one instant: how long the event loop stands still"),
    "ui": (ui.run, "the web UI in Chromium: its first view, and lists of 1,000 and 100,000"),
    "profile": (profiles.run, "CPU per fire by stage, on SQLite"),
    "pg-profile": (profiles.on_postgres, "CPU per fire by stage, on PostgreSQL"),
    "profile-steady": (profiles.steady, "the same at 1,000 fires a second, on SQLite"),
    "pg-profile-steady": (profiles.steady_on_postgres, "the same, on PostgreSQL"),
}
ASKED_FOR = frozenset({"profile", "pg-profile", "profile-steady", "pg-profile-steady"})
"""These do not run by default: they need the right to look into another process."""


def main() -> None:
    """Parse the command line and measure."""
    listing = "\n".join(f"  {name:17} {text}" for name, (_, text) in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures Tocsin from outside: real processes, a real receiver.",
        epilog=f"workloads (all but profiles by default):\n{listing}\n\n"
        "How to read it: bench/README.md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="what to measure")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: a smoke test")
    parser.add_argument("--runs", type=int, help="runs of each (3; 1 with --quick)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the JSON here")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the nodes, such as max_in_flight=500; can be repeated",
    )
    parser.add_argument(
        "--dir", type=Path, help="where databases are made (by default the temporary directory)"
    )
    parser.add_argument(
        "--flamegraphs", type=Path, metavar="DIR", help="where profiles are drawn as SVG"
    )
    parser.add_argument(
        "--size",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="jobs in the store for scaling, beside 1,000 to compare with; can be repeated",
    )
    parser.add_argument(
        "--processes",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="processes for pg-burst and pg-scaling (1, 2 and 4); can be repeated",
    )
    options = parser.parse_args()
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    env = {}
    for pair in options.set:
        name, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--set {pair}: write NAME=VALUE")
        env[f"TOCSIN_{name.upper()}"] = value

    where = machine()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", dir=options.dir) as home:
        bench = Bench(
            home=Path(home),
            quick=options.quick,
            runs=options.runs or (1 if options.quick else 3),
            env=env,
            flamegraphs=options.flamegraphs,
            sizes=tuple(sorted(options.size)),
            processes=tuple(options.processes),
        )
        for name in options.workloads or [one for one in WORKLOADS if one not in ASKED_FOR]:
            workload, _ = WORKLOADS[name]
            figures += workload(bench)
            if not options.json and sys.stderr.isatty():
                sys.stderr.write(table(figures) + "\n")

    document = json.dumps(
        {"machine": where, "settings": env, "figures": [figure.to_json() for figure in figures]},
        indent=2,
    )
    if options.output:
        options.output.write_text(document + os.linesep)
    if options.json:
        print(document)
        return
    print(
        f"Tocsin bench · {where['at']} · {where['cpus']} CPUs · load {where['load_average']} · "
        f"Python {where['python']} · SQLite {where['sqlite']} · {where['system']} · "
        f"receiver: {where['receiver']}"
    )
    print(table(figures))


if __name__ == "__main__":
    main()
