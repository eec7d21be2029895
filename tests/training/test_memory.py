"""Queue, momentum copy and neighbours: against plain lists and loops, through resume, and on two ranks."""

import copy
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from counterpoint import catalog
from counterpoint.objectives import Embeddings, Ids, attraction, info_nce, log_mass
from counterpoint.training import Run, Trainer, load
from counterpoint.training import memory as module
from counterpoint.training.memory import Momentum, Neighbours, Queue
from training import remembering
from training.ranks import pair
from training.remembering import Remembering, Rows
from training.toys import CutRun, Interrupted, events, snapshot


@pytest.fixture(autouse=True)
def _in_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "OWN", (*catalog.OWN, remembering.ROW))


def keys_of(row: Tensor, **facts: Tensor) -> Embeddings:
    return Embeddings(torch.stack([row, row + 0.5], dim=1).float(), Ids(row=row, positive=row % 5, **facts))


# The queue ------------------------------------------------------------------------------------------------


@given(st.integers(1, 7), st.lists(st.integers(0, 17), max_size=8))
def test_a_queue_is_a_bounded_list(size: int, pushes: list[int]) -> None:
    queue, expected, first = Queue(size, 2), deque(maxlen=size), 0
    for length in pushes:
        row = torch.arange(first, first + length)
        queue.push(keys_of(row))
        expected.extend(row.tolist())
        first += length
        keys = queue.keys()
        assert keys.everywhere
        assert len(queue) == len(expected)
        assert sorted(keys.ids.row.tolist()) == list(expected)
        assert torch.equal(keys.vectors, keys_of(keys.ids.row).vectors)
        assert torch.equal(keys.ids.positive, keys.ids.row % 5)


def test_the_oldest_leaves_first() -> None:
    queue = Queue(4, 2)
    for rows in ([0, 1, 2], [3, 4], [5]):
        queue.push(keys_of(torch.tensor(rows)))
    assert queue.row.tolist() == [4, 5, 2, 3]
    assert int(queue.oldest) == 2


def test_every_fact_stays_with_its_key() -> None:
    queue = Queue(4, 2, exclude=2, within=True, log_weight=True)
    row = torch.arange(6)
    facts = {"exclude": torch.stack([row, row * 2], 1), "within": row % 2, "log_weight": row / 10}
    queue.push(keys_of(row, **facts))
    kept = queue.keys().ids
    assert torch.equal(kept.exclude, torch.stack([kept.row, kept.row * 2], 1))
    assert torch.equal(kept.within, kept.row % 2)
    assert torch.equal(kept.log_weight, kept.row / 10)


def test_facts_without_room_are_refused() -> None:
    row = torch.arange(3)
    with pytest.raises(ValueError, match=r"\['exclude', 'positive', 'row'\].*\['positive', 'row'\]"):
        Queue(4, 2).push(keys_of(row, exclude=row[:, None]))
    with pytest.raises(ValueError, match="this Queue keeps"):
        Queue(4, 2, within=True).push(keys_of(row))
    for size, dim in ((0, 2), (2, 0)):
        with pytest.raises(ValueError, match="at least one key"):
            Queue(size, dim)


def test_an_empty_queue_adds_nothing() -> None:
    view = torch.nn.functional.normalize(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))
    rows = Embeddings(view, Ids(torch.arange(5), torch.arange(5)))
    mass = log_mass(rows, Queue(8, 2).keys(), temperature=0.1)
    assert bool((mass == -torch.inf).all())
    assert torch.equal(
        info_nce(rows, rows, temperature=0.1, also=[mass]).value, info_nce(rows, rows, temperature=0.1).value
    )


@pytest.mark.parametrize("itself", ["positive", "excluded", "negative"])
def test_an_own_key_in_the_queue_is_what_itself_says(itself: str) -> None:
    queue, row = Queue(8, 2), torch.arange(4)
    queue.push(keys_of(row))
    queries = Embeddings(torch.ones(4, 2), Ids(row=row + 2, positive=torch.full((4,), -1)))
    scores = queries.vectors @ queue.vectors[:4].T
    own = (row + 2)[:, None] == queue.row[:4]
    counted = torch.ones_like(own) if itself == "negative" else ~own
    expected = scores.masked_fill(~counted, -torch.inf).logsumexp(1)
    found = log_mass(queries, queue.keys(), temperature=1.0, itself=itself, over="negatives")
    assert torch.allclose(found, expected)
    positives = attraction(queries, queue.keys(), temperature=1.0, itself=itself)[1]
    assert positives.tolist() == (own.sum(1) if itself == "positive" else torch.zeros(4)).tolist()


def test_keys_come_without_gradient_and_in_the_queues_precision() -> None:
    queue = Queue(3, 2)
    vectors = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    queue.push(Embeddings(vectors, Ids(torch.arange(2), torch.arange(2))))
    assert queue.keys().vectors.dtype == torch.float32
    assert not queue.keys().vectors.requires_grad


def test_a_push_before_backward_is_refused_by_autograd() -> None:
    queue = Queue(3, 2)
    queue.push(keys_of(torch.arange(3)))
    queries = Embeddings(torch.rand(2, 2, requires_grad=True), Ids(torch.arange(2), torch.arange(2)))
    loss = log_mass(queries, queue.keys(), temperature=1.0).sum()
    queue.push(keys_of(torch.arange(2)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# The momentum copy ----------------------------------------------------------------------------------------


def encoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_parameters_are_averaged_and_buffers_copied() -> None:
    source = encoder()
    slow = Momentum(source, decay=0.75)
    expected = [p.detach().clone() for p in source.parameters()]
    for step in range(3):
        with torch.no_grad():
            for p in source.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(step)))
        source(torch.randn(8, 3))
        slow.update_()
        expected = [0.75 * mine + 0.25 * p.detach() for mine, p in zip(expected, source.parameters(), strict=True)]
    for mine, p in zip(slow.average.parameters(), expected, strict=True):
        assert torch.allclose(mine, p, atol=1e-6)
        assert not mine.requires_grad
    assert torch.equal(slow.average[1].running_mean, source[1].running_mean)
    assert int(slow.average[1].num_batches_tracked) == 3
    slow.update_(decay=0.0)
    assert all(map(torch.equal, slow.average.parameters(), source.parameters()))


def test_it_runs_in_the_mode_of_its_source_and_holds_it_only_once() -> None:
    method = nn.Module()
    method.net = encoder()
    method.slow = Momentum(method.net, decay=0.9)
    assert not [name for name in method.slow.state_dict() if "source" in name]
    rows = torch.randn(4, 3)
    method.net.eval()
    method.slow.train()
    assert torch.equal(method.slow(rows), method.slow(rows))
    assert not method.slow.average[2].training
    method.net.train()
    method.slow.eval()
    assert not torch.equal(method.slow(rows), method.slow(rows))
    twin = copy.deepcopy(method)
    assert twin.slow.source is twin.net


@pytest.mark.parametrize("decay", [-0.1, 1.1])
def test_a_decay_is_a_share(decay: float) -> None:
    with pytest.raises(ValueError, match="a share from 0 to 1"):
        Momentum(nn.Linear(1, 1), decay)
    with pytest.raises(ValueError, match="a share from 0 to 1"):
        Momentum(nn.Linear(1, 1), 0.5).update_(decay)


# Neighbours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [4, 2048])
def test_neighbours_are_those_of_a_full_sort(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", tile)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(19, 3, generator=generator, dtype=torch.float64)
    positive = torch.randint(-1, 6, (19,), generator=generator)
    near = Neighbours(19, 3, k=5).double()
    for rows in torch.randperm(17, generator=generator).split(4):  # the last two rows are never seen
        near.put(Embeddings(vectors[rows], Ids(row=rows, positive=positive[rows])))
    near.search_()
    for row in range(17):
        others = [o for o in range(17) if o != row and not (positive[o] == positive[row] >= 0)]
        expected = sorted(others, key=lambda other: -float(vectors[row] @ vectors[other]))[:5]
        assert near.index[row].tolist() == expected
    assert bool((near.index[17:] == -1).all())


def test_too_few_neighbours_are_minus_one() -> None:
    near, row = Neighbours(3, 1, k=4), torch.arange(3)
    near.put(Embeddings(torch.ones(3, 1), Ids(row=row, positive=torch.tensor([0, 0, 1]))))
    near.search_()
    assert [sorted(found) for found in near.index.tolist()] == [[-1, -1, -1, 2], [-1, -1, -1, 2], [-1, -1, 0, 1]]
    with pytest.raises(ValueError, match="at least 1"):
        Neighbours(3, 1, k=0)


# Training -------------------------------------------------------------------------------------------------


def fitted(run: Run, **options: int) -> Remembering:
    return Remembering(**options).fit(Rows(), trainer=Trainer(run=run, save_every=1, progress=False))


def test_a_fit_with_all_three_cut_anywhere_ends_the_same(tmp_path: Path) -> None:
    reference = CutRun(tmp_path / "whole")
    method = fitted(reference)
    whole = snapshot(method)
    assert len(reference.stood) > 16
    assert len(method.queue) == 10
    assert not torch.equal(method.slow.average[0].weight, method.net[0].weight)
    for cut in range(1, len(reference.stood), 3):  # in searches, in training, and between phases
        folder = tmp_path / str(cut)
        with pytest.raises(Interrupted):
            fitted(CutRun(folder, cut))
        assert snapshot(fitted(Run(folder, resume=True))) == whole, reference.stood[cut - 1]
        assert events(folder) == events(tmp_path / "whole"), reference.stood[cut - 1]
    saved = load(tmp_path / "whole")
    assert torch.equal(saved.net[0].weight, method.net[0].weight)
    assert len(saved.queue) == 0


def test_chunks_change_nothing_without_dropout() -> None:
    found = [Remembering(dropout=0.0, chunk=chunk).fit(Rows()).net[0].weight for chunk in (0, 3, 100)]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert torch.allclose(found[0], found[2], atol=1e-5)


def test_a_killed_process_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = snapshot(fitted(Run(tmp_path / "whole"), epochs=15))
    folder = tmp_path / "run"
    code = f"from training.remembering import slowly; slowly({str(folder)!r}, 0.005)"
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),  # sums are added in the same order
    }
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        lines, deadline = folder / "metrics.jsonl", time.monotonic() + 300
        while not lines.exists() or lines.read_bytes().count(b"\n") < 20:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert snapshot(fitted(Run(folder, resume=True), epochs=15)) == whole
    assert events(folder) == events(tmp_path / "whole")


# Two ranks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 9])
def test_two_ranks_train_as_one(size: int) -> None:
    """Batches of 9 make shards of 5 and 4, and the last of an epoch are smaller still."""
    alone = remembering.trained(size)
    for found in pair().ask(remembering.trained, size):
        for name, value in alone.items():
            assert torch.allclose(found[name].to(value), value, rtol=1e-9, atol=1e-11), name


@pytest.mark.parametrize(("lengths", "size"), [((9, 5), 20), ((9, 5), 6), ((14, 0), 16), ((1, 2), 5)])
def test_a_queue_is_the_same_on_all_ranks(lengths: tuple[int, int], size: int) -> None:
    alone = remembering.pushed(lengths, size)
    for found in pair().ask(remembering.pushed, lengths, size):
        assert all(torch.equal(found[name], value) for name, value in alone.items())


def test_chunks_work_under_data_parallel() -> None:
    alone = remembering.distributed_gradients(3)
    for found in pair().ask(remembering.distributed_gradients, 3):
        assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(found, alone, strict=True))
