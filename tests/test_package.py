"""What `import counterpoint` gives: names when they are asked for, and nothing heavy before."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import counterpoint


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, counterpoint; dir(counterpoint); counterpoint.__version__; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "False"


def test_every_name_is_there_and_type_checkers_see_the_same_ones() -> None:
    tree = ast.parse(Path(counterpoint.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.asname: part.module for part in block.body if isinstance(part, ast.ImportFrom) for alias in part.names
    }
    assert declared == counterpoint._HOME
    for name, module in declared.items():
        assert name in dir(counterpoint)
        assert getattr(counterpoint, name) is getattr(sys.modules[module], name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clip'"):
        _ = counterpoint.Clip


def test_the_version_is_the_packages() -> None:
    assert counterpoint.__version__ == version("counterpoint")
