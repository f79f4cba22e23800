"""python -m bench [ROW...]: measure, print a table, write it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import docker

from bench import burst, crash, gated, image, isolated, memory, neighbours, ready, services, swarmburst, table, thousand
from bench.figures import Figure
from support.repo import ROOT
from support.tiny import tiny_image

OUTPUT = ROOT / ".artifacts" / "bench.json"


@dataclass(frozen=True)
class Row:
    """`full` is what `make bench` measures, `smallest` what shows within seconds that it measures at all."""

    about: str
    measure: Callable[[Any], Iterable[Figure]]
    full: Any
    smallest: Callable[[], Any]


def _row(module: ModuleType, **smallest: Any) -> Row:
    assert module.__doc__
    full = module.Size()
    return Row(module.__doc__, module.measure, full, lambda: replace(full, **smallest))


ROWS = {
    "a": _row(burst, users=2, rounds=1),
    "b": _row(ready, rounds=1),
    "c": _row(crash, ours=1, predecessor=1, poll=1),
    "d": _row(neighbours, ours=1, stubborn=2, hold=1, grace=1),
    "e": _row(thousand, servers=20, idle=5, poll=1),
    "f": _row(memory, servers=20, users=2, bursts=1),
    "g": _row(isolated, beside=(2,), rounds=1),
    "h": _row(image, rounds=1, memory_rounds=1),
    "i": _row(services, servers=(20,), compared=20, idle=5, poll=1),
    "j": _row(swarmburst, users=2, rounds=1, workers=0),
    "k": _row(gated, users=2, rounds=1),
}


def smallest(name: str) -> Any:
    size = ROWS[name].smallest()
    # The kit's image takes minutes to build, and a small one shows the same.
    return replace(size, image=tiny_image()) if name == "b" else size


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    about = "; ".join(row.about for row in ROWS.values())
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{about} Default: all")
    parser.add_argument("--smallest", action="store_true", help="only show that everything is measured")
    parser.add_argument("--idle", type=float, help="seconds of row e's look at an idle hub")
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(ROWS)})")
    # Told to end, it still removes what it has made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    load = [os.getloadavg()[0]]
    try:
        for name in options.rows or ROWS:
            row = ROWS[name]
            size = smallest(name) if options.smallest else row.full
            if name == "e" and options.idle:
                size = replace(size, idle=options.idle)
            print(row.about, file=sys.stderr, flush=True)
            figures += row.measure(size)
            load.append(os.getloadavg()[0])
            write(OUTPUT, figures, load)
    finally:
        # Also what was had before something went wrong.
        print(table.render(figures))
        print(f"\nLoad of the machine before and after each row: {', '.join(f'{one:.1f}' for one in load)}")


def write(path: Path, figures: list[Figure], load: list[float]) -> None:
    path.parent.mkdir(exist_ok=True)
    engine = docker.from_env()
    machine = {"processors": os.cpu_count(), "engine": engine.version()["Version"], "load": load}
    engine.close()
    path.write_text(json.dumps({"machine": machine, "figures": table.as_json(figures)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
