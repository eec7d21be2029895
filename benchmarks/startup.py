"""How long a command takes to answer, and what importing costs, each in a fresh process."""

import subprocess
import sys

from harness import interleave, write

CLI = "import sys; sys.argv = ['counterpoint', '{}']; from counterpoint.cli import main; main()"
PROGRAMS = {
    "python": "pass",
    "import torch": "import torch",
    "import counterpoint, GatedSymile": "import counterpoint; counterpoint.GatedSymile",
    "import counterpoint": "import counterpoint",
    "counterpoint --help": CLI.format("--help"),
    "counterpoint list": CLI.format("list"),
}


def run(program: str) -> None:
    """One fresh interpreter."""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    seconds = interleave({name: (lambda text=text: run(text)) for name, text in PROGRAMS.items()}, repeats=9)
    ratio = seconds["import counterpoint, GatedSymile"] / seconds["import torch"]
    rows = [
        {"what": "import of a method / import torch", "ratio": ratio, "goal": "<= 1.15", "met": ratio <= 1.15},
        *(
            {"what": name, "seconds": seconds[name], "goal": "<= 0.3", "met": seconds[name] <= 0.3}
            for name in ("counterpoint --help", "counterpoint list")
        ),
        {"what": "all, seconds", **seconds},
    ]
    write("startup", rows, "wall seconds of a fresh process, median of 9, interleaved")
