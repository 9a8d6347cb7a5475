"""``make chaos``: many faults, and exit code 0 only when nothing differs."""

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from chaos.brokers import Brokers
from chaos.driver import Round, RoundResult
from chaos.rounds import plan, printed, table

_SHOWN = 5


def main() -> int:
    """Run the rounds; return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--round", type=int, help="only this one of them, counted from 1")
    parser.add_argument("--json", type=Path, help="where the results are written to")
    options = parser.parse_args()
    # What its own clients say while the broker is away, a hundred times a second.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    rounds = plan(options.faults, seed)
    print(f"{options.faults} faults in {len(rounds)} rounds; to repeat: {_command(options.faults, seed)}", flush=True)
    chosen = rounds if options.round is None else rounds[options.round - 1 : options.round]
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    results = _run(chosen, directory)
    rows = table(results)
    print(printed(rows))
    differences = sum(len(found) for result in results for found in result.differences.values())
    print(f"{sum(len(result.faults) for result in results)} faults, {differences} differences, seed {seed}")
    if options.json is not None:
        content = {
            "seed": seed,
            "faults": options.faults,
            "table": rows,
            "differences": differences,
            "rounds": [result.as_json() for result in results],
        }
        options.json.write_text(json.dumps(content, indent=2))
    if len(results) < len(chosen):
        print(f"stopped after {len(results)} of {len(chosen)} rounds")
        return 1
    if differences:
        print(f"logs, state and the brokers of the rounds that differ are kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


def _run(rounds: Sequence[Round], directory: Path) -> list[RoundResult]:
    """Run the rounds; what was seen until somebody stops it is a result too."""
    results = []
    with Brokers(directory) as brokers, suppress(KeyboardInterrupt):
        for one in rounds:
            result = one.run(brokers, directory / one.name)
            results.append(result)
            _report(result)
            if result.holds:
                shutil.rmtree(directory / one.name)
    return results


def _report(result: RoundResult) -> None:
    kinds = list(dict.fromkeys(fault.kind for fault in result.faults))
    what = kinds[0] if len(kinds) == 1 else f"{len(kinds)} kinds"
    print(
        f"{result.name}: {len(result.faults)} x {what}, {result.deliveries} deliveries, {result.seconds:.0f} s, "
        f"processes ended with {result.exits}: {'holds' if result.holds else 'DIFFERS'}",
        flush=True,
    )
    for invariant, found in result.differences.items():
        print(f"  {invariant}: {len(found)}")
        for difference in found[:_SHOWN]:
            print(f"    {difference}")


def _command(faults: int, seed: int) -> str:
    return f"make chaos CHAOS_FAULTS={faults} CHAOS_SEED={seed} (one round: CHAOS_ROUND=<number>)"


if __name__ == "__main__":
    sys.exit(main())
