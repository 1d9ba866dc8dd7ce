"""Run seeds: ``python -m tests.simulation 123 [--count 100] [--trace]``."""

import argparse
import sys
import time

from tests.simulation.chance import Chance, build


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, help="the (first) seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    options = parser.parse_args()
    began, failed, calls = time.perf_counter(), 0, 0
    for seed in range(options.seed, options.seed + options.count):
        world = build(seed, trace=options.trace)
        try:
            world.run(Chance(world).story)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}")
        calls += len(world.receiver.calls)
        if world.trace is not None:
            print("\n".join(world.trace))
        if options.count == 1:
            print(f"fingerprint {world.fingerprint}, {world.loop.steps} steps")
    seconds = time.perf_counter() - began
    print(
        f"{options.count} seeds, {failed} failed, {calls} calls, {seconds:.1f} s, "
        f"{options.count / seconds * 60:.0f} seeds/minute"
    )
    return 1 if failed else 0


sys.exit(main())
