"""House rules that ruff does not know; prints each breach as `file:line: text` and exits with 1 when there is one."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST = 500
WINGS = r"src/counterpoint/(multimodal|recommend|graphs|text|vision|signals|proteins|agents|audits)/.*\.py"
SOURCE = r"src/.*\.py"
MAY_TALK_TO_RANKS = (
    "src/counterpoint/objectives/ranks.py",
    "src/counterpoint/objectives/sharded.py",
    "src/counterpoint/launch.py",
)


@dataclass(frozen=True)
class Rule:
    """A pattern that must not occur in files whose path matches `where`, except in `allowed` ones."""

    pattern: str
    where: str
    why: str
    allowed: tuple[str, ...] = ()


RULES = (
    Rule(r"\blogsumexp\b", WINGS, "use the objectives' log_mass"),
    Rule(r"\btorch\.eye\b", WINGS, "say it with ids; nothing is n x n"),
    Rule(
        r"\btorch\.distributed\b|\bimport distributed\b", SOURCE, "ranks meet in objectives/ranks.py", MAY_TALK_TO_RANKS
    ),
    Rule(r"""\.cuda\(|\.to\(\s*["']cuda""", SOURCE, "only the Trainer moves tensors"),
    Rule(r"\btorch\.load\(|\bimport pickle\b|\bpickle\.\w|\bfrom pickle\b", SOURCE, "loading must not unpickle"),
    Rule(r"\byaml\.(unsafe_|full_)?load\((?!.*_LOADER)", SOURCE, "use yaml.safe_load"),
    Rule(r"(?<![\w.~:/])/(home|root|work|Users|mnt|opt)/\w", r".*", "a path of one machine"),
)


def breaches(path: str, text: str) -> Iterator[str]:
    """Each broken rule of one file; `path` is relative to the repository."""
    lines = text.splitlines()
    if path.endswith(".py") and len(lines) > LONGEST:
        yield f"{path}:{len(lines)}: longer than {LONGEST} lines"
    rules = [rule for rule in RULES if re.fullmatch(rule.where, path) and path not in rule.allowed]
    for number, line in enumerate(lines, start=1):
        for rule in rules:
            if re.search(rule.pattern, line):
                yield f"{path}:{number}: {line.strip()} ({rule.why})"


def files(root: Path) -> list[str]:
    """Text files that git tracks or would track, but this tool and its test, which quote what they forbid."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    suffixes = (".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml")
    named = [path for path in listed if path.endswith(suffixes) or path in ("Makefile", ".ci/run")]
    return [path for path in named if not path.endswith("lint_rules.py") and (root / path).is_file()]


def main() -> int:
    """Check the whole repository."""
    root = Path(__file__).resolve().parent.parent
    found = [breach for path in files(root) for breach in breaches(path, (root / path).read_text(encoding="utf-8"))]
    print("\n".join(found) if found else "house rules hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
