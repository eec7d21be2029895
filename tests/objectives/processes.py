"""Every objective on this rank's shard of 14 rows; run as a script it is one of three processes.

python -m objectives.processes RANK FOLDER: joins a group of three for the shards of SHARDS that have three parts,
then, without the third, a group of two for the others, and writes what it found to FOLDER.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from objectives import engine_cases, rowwise_cases, statistics_cases
from objectives.engine_cases import SHARDS, Rows, generator

OBJECTIVES = engine_cases.OBJECTIVES | rowwise_cases.OBJECTIVES | statistics_cases.OBJECTIVES


def outcomes(shard: slice, ranks: int = 1) -> dict[str, dict[str, Tensor]]:
    """Loss and parameter gradients of every objective, averaged over ranks as a trainer would."""
    found = {}
    for name, objective in OBJECTIVES.items():
        parameters = {
            "encoder": torch.randn(6, 5, generator=generator(4), dtype=torch.float64).requires_grad_(),
            "temperature": torch.tensor(-1.5, dtype=torch.float64, requires_grad=True),
            "table": torch.randn(4, 5, generator=generator(5), dtype=torch.float64).requires_grad_(),
        }
        loss = objective(Rows(shard, parameters))
        loss.backward()
        values = {"loss": loss.detach()}
        values |= {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in parameters.items()}
        if ranks > 1:
            for value in values.values():
                dist.all_reduce(value)
        found[name] = {key: value / ranks for key, value in values.items()}
    return found


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    import_module("counterpoint.objectives.rowwise").BLOCK = 40
    results: dict[str, Tensor] = {}
    for world in (3, 2):
        if rank < world:
            dist.init_process_group("gloo", init_method=f"file://{folder}/meet{world}", rank=rank, world_size=world)
            for shards in (parts for parts in SHARDS if len(parts) == world):
                first = sum(shards[:rank])
                found = outcomes(slice(first, first + shards[rank]), world)
                results |= {
                    f"{shards} {name} {part}": value for name, parts in found.items() for part, value in parts.items()
                }
            dist.barrier()  # nobody leaves while another still speaks to it
            dist.destroy_process_group()
    if rank == 0:
        save_file(results, folder / "found.safetensors")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # gloo's threads are now and then still about when the interpreter takes itself apart
