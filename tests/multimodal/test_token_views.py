"""Views of token features: read from files and records, measured, and what every method of the wing sees of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.kind import How
from counterpoint.multimodal.kinds.tokens import TokenRows
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.tokens import Tokens, tokens_of, words_of

ROWS: list[Any] = [[[1.0, 2.0], [3.0, 4.0]], None, [[5.0, 6.0]]]


def table(rows: list[Any]) -> Table:
    return Table.of({"a": rows, "b": np.arange(len(rows), dtype=float)[:, None]}, kind={"a": "tokens", "b": "numbers"})


def front_of(made: Table) -> TokenRows:
    kind = KINDS["tokens"]
    front = kind.front(kind.measure(made.views["a"], How()))
    assert isinstance(front, TokenRows)
    return front


def test_tokens_are_scaled_filled_and_averaged() -> None:
    made = table(ROWS)
    front = front_of(made)
    assert front.mean.tolist() == [3.0, 4.0]
    values = front.tensor(made.views["a"], np.arange(3))
    assert values.shape == (3, 2, 2)
    assert front.present(values).tolist() == [True, False, True]
    assert front.known(values).tolist() == [[True, True], [False, False], [True, False]]
    spread = np.std([1.0, 3.0, 5.0])
    torch.testing.assert_close(front(values), torch.tensor([[-1 / spread] * 2, [0.0] * 2, [2 / spread] * 2]).float())
    found = tokens_of(front, values)
    torch.testing.assert_close(found.pooled(), front(values))


def test_a_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": ROWS, "y": [1.0, 2.0, 3.0]}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", view={"a": "x", "b": "y"})
    assert found.views["a"].kind == "tokens"
    assert found.views["a"].present.tolist() == [True, False, True]
    assert found.views["a"].entries(2)[0].tolist() == [[5.0, 6.0]]
    whole = np.full((3, 2, 2), np.nan)
    for row, tokens in enumerate(ROWS):
        if tokens is not None:
            whole[row, : len(tokens)] = tokens
    np.savez(tmp_path / "a.npz", x=whole, y=np.array([1.0, 2.0, 3.0]))
    again = read(tmp_path / "a.npz", view={"a": "x", "b": "y"})
    assert again.views["a"].digest() == found.views["a"].digest()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([[1.0], [2.0, 3.0]], r"row 2: is not a list of tokens"),
        ([[1.0, 2.0, 3.0]], r"row 2: tokens of 3 numbers, where 2 are expected"),
        ([[1.0, float("inf")]], r"row 2: a token holds a number that is missing, infinite"),
        ([1.0, 2.0], r"row 2: is not a list of tokens"),
        ("words", r"row 2: is not a list of tokens"),
    ],
)
def test_mistakes_are_named(bad: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        table([ROWS[0], bad])


def test_rows_without_tokens_cannot_be_learned_from() -> None:
    with pytest.raises(UserError, match='view "a" has no tokens in any row'):
        front_of(table([None, [], None]))


def test_other_widths_are_refused_at_use() -> None:
    front = front_of(table(ROWS))
    with pytest.raises(UserError, match="has tokens of 3 numbers, the run was fitted on 2"):
        front.tensor(table([[[1.0, 2.0, 3.0]]]).views["a"], np.arange(1))


def test_every_method_of_the_wing_takes_them() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(60, 2))
    rows = [h + 0.1 * rng.normal(size=(rng.integers(1, 5), 2)) for h in hidden]
    made = Table.of({"a": rows, "b": hidden @ rng.normal(size=(2, 3))}, kind={"a": "tokens", "b": "numbers"})
    method = CLIP(dim=4, hidden=16, epochs=12, batch_size=20, optim={"lr": 0.01}).fit(made)
    assert method.judge(method, made).summary()["top1"] > 0.1


def test_words_are_those_of_published_tweets() -> None:
    assert words_of("emoji_92 # tag ... it's") == ["emoji_92", "#", "tag", ".", ".", ".", "it's"]
    assert len(words_of("word " * 100)) == 64


def test_joined_tokens_stay_apart() -> None:
    one = Tokens(torch.ones(2, 1, 3), torch.tensor([[True], [False]]))
    both = Tokens.joined([one, one])
    assert both.vectors.shape == (2, 2, 3)
    assert both.present.tolist() == [True, False]
