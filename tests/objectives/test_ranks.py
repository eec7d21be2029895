"""W gloo processes compute what one computes: the loss and every parameter's gradient, of every objective."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from counterpoint.objectives import gather, mean_over_ranks, rank, sum_over_ranks, world
from counterpoint.objectives.ranks import sizes
from objectives import engine_cases, processes

Outcomes = dict[str, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def alone() -> Outcomes:
    return processes.outcomes(slice(0, engine_cases.N))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "objectives.processes"]
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(paths)}
    running = [
        subprocess.Popen(
            [*command, str(rank), str(folder)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert all(process.returncode == 0 for process in running), "\n".join(errors)
    return load_file(folder / "found.safetensors")


@pytest.mark.parametrize("shards", engine_cases.SHARDS, ids=str)
@pytest.mark.parametrize("name", processes.OBJECTIVES)
def test_ranks_equal_one_process(name: str, shards: tuple[int, ...], alone: Outcomes, together: dict) -> None:
    expected = alone[name]
    assert expected["encoder"].any() or expected["table"].any(), "without a gradient nothing would be proved"
    found = {part: together[f"{shards} {name} {part}"] for part in expected}
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_one_process_is_free() -> None:
    rows = torch.rand(3, requires_grad=True)
    assert (world(), rank(), sizes(3)) == (1, 0, [3])
    assert gather(rows) is rows
    assert sum_over_ranks(torch.tensor(2)) == 2
    assert mean_over_ranks(rows, torch.zeros(3)) == 0
