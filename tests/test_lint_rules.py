"""The house rules' lint script finds what it should and nothing else."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "lint_rules.py"
WING, CORE = "src/counterpoint/multimodal/x.py", "src/counterpoint/training/x.py"


@pytest.fixture(scope="module")
def rules() -> object:
    spec = importlib.util.spec_from_file_location("lint_rules", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (WING, "x = torch.logsumexp(y, 1)"),
        (WING, "x = torch.eye(3)"),
        (WING, "import torch.distributed as dist"),
        (CORE, "from torch import distributed"),
        (CORE, "x.cuda()"),
        (CORE, 'x.to("cuda:0")'),
        (CORE, "torch.load(path)"),
        (CORE, "import pickle"),
        (CORE, "yaml.load(text)"),
        ("README.md", "cd /home/me/counterpoint"),
        (CORE, "\n" * 500 + "x"),
    ],
)
def test_a_breach_is_found(rules: object, path: str, line: str) -> None:
    assert len(list(rules.breaches(path, line))) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (CORE, "x = torch.logsumexp(y, 1)"),
        ("tests/x.py", "x = torch.eye(3)"),
        ("src/counterpoint/objectives/ranks.py", "import torch.distributed as dist"),
        (CORE, '"""No pickle."""'),
        (CORE, "yaml.safe_load(text)"),
        ("README.md", "see docs/home/index.md and https://example.org/home/x"),
        ("docs/long.md", "\n" * 900),
    ],
)
def test_what_is_allowed_passes(rules: object, path: str, line: str) -> None:
    assert list(rules.breaches(path, line)) == []  # type: ignore[attr-defined]
