"""W gloo processes compute what one computes, for the losses that see all keys at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from objectives import processes, rowwise_processes

Outcomes = dict[str, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def alone() -> Outcomes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "OBJECTIVES", rowwise_processes.OBJECTIVES)
        return processes.outcomes(slice(0, processes.N))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("ranks")
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(paths)}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "objectives.rowwise_processes", str(rank), str(folder)],
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


@pytest.mark.parametrize("shards", processes.SHARDS, ids=str)
@pytest.mark.parametrize("name", rowwise_processes.OBJECTIVES)
def test_ranks_equal_one_process(name: str, shards: tuple[int, ...], alone: Outcomes, together: dict) -> None:
    expected = alone[name]
    assert expected["encoder"].any() or expected["table"].any(), "without a gradient nothing would be proved"
    found = {part: together[f"{shards} {name} {part}"] for part in expected}
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
