"""Calls of a language model: what a cache saves on a repeated run, and what asking at once brings.

The model is a local HTTP server that answers every call after 50 ms, so that the client alone is measured.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import write

from counterpoint.language import Ask, Cache, open_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "language"))
from server import Script, endpoint

DELAY = 0.05


def repeated(address: str, calls: int) -> dict[str, Any]:
    """The share of a second, equal run's calls that the first one's cache answers."""
    asked = [Ask.of(f"question {n}", temperature=0.7, seed=n) for n in range(calls)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls.sqlite"
        first = open_model(f"{address}#m", file)[0].answer(asked)
        again, accounts = open_model(f"{address}#m", file)
        assert isinstance(again, Cache)
        start = time.perf_counter()
        equal = again.answer(asked) == first
        seconds = time.perf_counter() - start
    share = again.hits / calls
    met = share == 1 and equal and accounts.calls == 0
    return {"what": f"{calls} LLM calls repeated: cache hits / calls", "ratio": share, "goal": "= 1", "met": met,
            "calls_made": accounts.calls, "equal": equal, "ms_a_call": 1e3 * seconds / calls}  # fmt: skip


def at_once(address: str, calls: int, concurrency: int) -> dict[str, Any]:
    """Calls a second, `concurrency` at once against one at a time."""
    rates = {}
    for name, limit in (("one_at_a_time", 1), ("at_once", concurrency)):
        model, _ = open_model(f"{address}#m", concurrency=limit)
        model.answer([Ask.of("to open the connection")])
        asked = [Ask.of(f"{name} {n}") for n in range(calls)]
        start = time.perf_counter()
        model.answer(asked)
        rates[name] = calls / (time.perf_counter() - start)
    ratio = rates["at_once"] / rates["one_at_a_time"]
    goal = concurrency / 2
    what = f"LLM calls a second, server of {1e3 * DELAY:.0f} ms: {concurrency} at once / one at a time"
    return {"what": what, "ratio": ratio, "goal": f">= {goal:g}", "met": ratio >= goal, "calls_a_second": rates}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    calls = 16 if (tiny := parser.parse_args().tiny) else 200
    with endpoint(Script(delay=DELAY)) as address:
        rows = [repeated(address, calls), at_once(address, calls, 8)]
    if tiny:
        print(*rows, sep="\n")
    else:
        write("language", rows, f"a local HTTP server that answers after {1e3 * DELAY:.0f} ms", "openai")


if __name__ == "__main__":
    main()
