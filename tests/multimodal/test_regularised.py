"""What small tables get beside their encoders: mixed rows and a linear path."""

import numpy as np
import pytest
import torch

from counterpoint import CLIP
from counterpoint.errors import UserError
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import mix_rows
from counterpoint.objectives import Ids
from counterpoint.training import Batch, rng


def batch(rows: int = 64) -> Batch:
    one = torch.arange(rows, dtype=torch.float32)[:, None]
    return Batch(Ids(one[:, 0].long(), one[:, 0].long()), {"a": one.clone(), "b": torch.cat([one, 2 * one], dim=1)})


def test_all_views_of_a_row_are_mixed_alike() -> None:
    mixed = batch()
    mix_rows(mixed, 0.5, rng(0))
    assert (mixed.views["a"] != batch().views["a"]).float().mean() > 0.5
    torch.testing.assert_close(mixed.views["b"], mixed.views["a"] * torch.tensor([1.0, 2.0]))


def test_a_row_keeps_the_larger_share() -> None:
    mixed = batch(2)  # one of two orders swaps the rows, the other leaves them
    for seed in range(20):
        mixed = batch(2)
        mix_rows(mixed, 0.5, rng(seed))
        assert mixed.views["a"][0] <= 0.5 <= mixed.views["a"][1]


def test_a_row_is_not_mixed_with_one_that_lacks_its_view() -> None:
    mixed = batch()
    mixed.views["b"][::2] = torch.nan
    mix_rows(mixed, 0.5, rng(0))
    assert mixed.views["b"].isnan().all(dim=1).tolist() == [row % 2 == 0 for row in range(64)]


def test_only_numbers_can_be_mixed() -> None:
    table = Table.of({"a": np.eye(16), "b": [["x"], ["y"]] * 8}, kind={"b": "categories"})
    with pytest.raises(UserError, match='mix: view "b" is not made of numbers'):
        CLIP(mix=0.2, epochs=1, batch_size=4).fit(table)


def test_the_linear_path_is_added_to_the_hidden_layers() -> None:
    table = Table.of({"a": np.random.default_rng(0).normal(size=(8, 3)), "b": np.eye(8)})
    model = CLIP(skip=True, dim=4, hidden=5, epochs=1, batch_size=4).fit(table)
    tower = model.encoders.towers["view_a"]
    with torch.no_grad():
        for parameter in tower.net.parameters():
            parameter.zero_()
        scaled = tower.front(torch.from_numpy(table.views["a"].values))
        expected = torch.nn.functional.normalize(scaled @ tower.skip.weight.T, dim=1)
    torch.testing.assert_close(model.embed_views(table).vectors["a"], expected)
