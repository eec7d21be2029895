"""Nested state comes back as it was, and a file that is not ours is said to be."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from counterpoint.errors import UserError
from counterpoint.training.tree import load_tree, same, save_tree

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
tensors = st.builds(
    lambda shape, kind, seed: (10 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(kind),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(TYPES),
    st.integers(0, 9),
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.text(max_size=2))
trees = st.recursive(
    plain | tensors,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def kinds(value: Any) -> Any:
    """Types all the way down: equal values of other types are not the same state."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape
    if isinstance(value, dict):
        return [(kinds(k), kinds(v)) for k, v in value.items()]
    return (type(value), [kinds(v) for v in value]) if isinstance(value, list | tuple) else type(value)


@given(trees)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    path = tmp_path_factory.mktemp("tree") / "a.safetensors"
    save_tree(path, tree)
    loaded = load_tree(path)
    assert same(loaded, tree)
    assert kinds(loaded) == kinds(tree)


def test_numbers_that_json_has_no_name_for(tmp_path: Path) -> None:
    save_tree(tmp_path / "a", {"a": float("inf"), "b": float("nan"), "c": torch.tensor(float("nan"))})
    loaded = load_tree(tmp_path / "a")
    assert loaded["a"] == float("inf")
    assert loaded["b"] != loaded["b"]
    assert loaded["c"].isnan()


def test_shared_and_strided_tensors_are_kept_by_value(tmp_path: Path) -> None:
    base = torch.arange(6.0).view(2, 3)
    tree = {"a": base, "b": base.T, "c": base[:, 1], "d": nn_parameter(base)}
    save_tree(tmp_path / "a", tree)
    loaded = load_tree(tmp_path / "a")
    assert same(loaded, tree)
    assert not loaded["d"].requires_grad


def nn_parameter(value: torch.Tensor) -> torch.Tensor:
    return torch.nn.Parameter(value.clone())


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path is not state"):
        save_tree(tmp_path / "a", {"a": tmp_path})
    assert os.listdir(tmp_path) == []


def test_trees_differ() -> None:
    one = {"a": [torch.ones(2), 1], "b": None}
    others = [
        {"a": [torch.ones(2), 1]},
        {"a": [torch.zeros(2), 1], "b": None},
        {"a": [torch.ones(2)], "b": None},
        {"a": [1, torch.ones(2)], "b": None},
        [one],
        None,
    ]
    assert same(one, {"b": None, "a": [torch.ones(2), 1]})
    assert not any(same(one, other) or same(other, one) for other in others)


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(UserError, match=r"state\.safetensors: cannot be read"):
        load_tree(path)
    save_tree(path, {"a": torch.arange(100.0), "b": [1, 2]})
    whole = path.read_bytes()
    for size in (0, 4, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"state\.safetensors: cannot be read .*damaged or not ours"):
            load_tree(path)
    for piece, other in ((b'\\"dict\\"', b'\\"dikt\\"'), (b'\\"t0\\"', b'\\"t9\\"'), (b'{\\"tensor', b'[\\"tensor')):
        assert piece in whole
        path.write_bytes(whole.replace(piece, other))
        with pytest.raises(UserError, match=r"state\.safetensors: the tree in its header is damaged"):
            load_tree(path)
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(UserError, match="not written by this library"):
        load_tree(path)
