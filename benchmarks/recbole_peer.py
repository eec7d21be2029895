"""RecBole 1.2.1 as a peer: its own data sets, loaders, models, trainer and evaluation, under NumPy 2 and pandas 3.

It is installed without its dependencies. What it asks for and does not use here (coloured logs, tables of text) is
stood in for, and names that NumPy 2 and SciPy took away are put back; nothing that computes is touched.
"""

import logging
import sys
import types
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

OLD = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "float": np.float64, "bool": np.bool_}
USUAL = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {
        "split": {"LS": "valid_and_test"},
        "order": "TO",
        "group_by": "user",
        "mode": {"valid": "full", "test": "full"},
    },
    "metrics": ["NDCG", "Hit"],
    "topk": [5, 10, 20],
    "valid_metric": "NDCG@10",
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "log_wandb": False,
}


def stand_in() -> None:
    """Let `recbole` be imported."""
    for name, value in OLD.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    dictionary: Any = scipy.sparse.dok_matrix
    if not hasattr(dictionary, "_update"):
        dictionary._update = lambda self, entries: self._dict.update(entries)
    nothing = type("Nothing", (), {"__init__": lambda self, *a, **k: None, "__getattr__": lambda self, name: print})
    absent = {
        "colorlog": {"ColoredFormatter": lambda *a, **k: logging.Formatter()},
        "colorama": {"init": lambda **k: None},
        "texttable": {"Texttable": nothing},
        "thop": {"profile": None},
        "hyperopt": {},
        "ray": {},
    }
    for name, content in absent.items():
        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__dict__.update(content)
            sys.modules[name] = module


class Peer:
    """One model of RecBole on one data set of `(user, item, time)` rows, trained and judged by its own trainer."""

    def __init__(
        self, model: str, rows: tuple[np.ndarray, np.ndarray, np.ndarray], folder: Path, **options: Any
    ) -> None:
        stand_in()
        warnings.simplefilter("ignore")
        place = folder / "part"
        place.mkdir(parents=True, exist_ok=True)
        with (place / "part.inter").open("w") as file:
            file.write("user_id:token\titem_id:token\ttimestamp:float\n")
            file.writelines(f"{user}\t{item}\t{time}\n" for user, item, time in zip(*rows, strict=True))
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import get_model, get_trainer, init_seed

        settings = {**USUAL, "data_path": str(folder), "checkpoint_dir": str(folder / "saved"), **options}
        arguments, sys.argv = sys.argv, sys.argv[:1]
        self.config = Config(model=model, dataset="part", config_dict=settings)
        sys.argv = arguments
        init_seed(0, True)
        dataset = create_dataset(self.config)
        self.train, self.validation, self.test = data_preparation(self.config, dataset)
        self.model = get_model(model)(self.config, self.train._dataset)
        with chdir(folder):  # its trainer writes a log where it stands
            self.trainer = get_trainer(self.config["MODEL_TYPE"], model)(self.config, self.model)
        self.trainer.eval_collector.data_collect(self.train)
        self.epochs = 0

    def epoch(self) -> None:
        """One epoch of training, without evaluation."""
        self.trainer._train_epoch(self.train, self.epochs)
        self.epochs += 1

    def judge(self) -> dict[str, float]:
        """Its own full ranking of the test part."""
        return dict(self.trainer.evaluate(self.test, load_best_model=False))
