"""Contrastive learning for every kind of data, on one core, with claims that can fail.

Names are imported when they are first used, so that `import counterpoint` needs no torch.

>>> import counterpoint as cp
>>> cp.GatedSymile.__name__
'GatedSymile'
"""

import gc
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.agents.clear import CLEAR as CLEAR
    from counterpoint.agents.questions import Questions as Questions
    from counterpoint.agents.tf_ttcl import TFTTCL as TFTTCL
    from counterpoint.agents.trajectories import Trajectories as Trajectories
    from counterpoint.errors import UserError as UserError
    from counterpoint.graphs.grace import GRACE as GRACE
    from counterpoint.graphs.graph import AttributedGraph as AttributedGraph
    from counterpoint.graphs.sdm_scr import SDMSCR as SDMSCR
    from counterpoint.multimodal.cca.gcca import GCCA as GCCA
    from counterpoint.multimodal.cca.kcca import KCCA as KCCA
    from counterpoint.multimodal.cca.mcca import MCCA as MCCA
    from counterpoint.multimodal.cca.ridge import RidgeCCA as RidgeCCA
    from counterpoint.multimodal.clip import CLIP as CLIP
    from counterpoint.multimodal.gated_symile import GatedSymile as GatedSymile
    from counterpoint.multimodal.gram import GRAM as GRAM
    from counterpoint.multimodal.hcl.deep import HCL as HCL
    from counterpoint.multimodal.hcl.linear import HCLLinear as HCLLinear
    from counterpoint.multimodal.symile import Symile as Symile
    from counterpoint.multimodal.table import Table as Table
    from counterpoint.multimodal.table import View as View
    from counterpoint.multimodal.table import read_table as read_table
    from counterpoint.multimodal.triangle import TRIANGLE as TRIANGLE
    from counterpoint.pretrained.texts import TextEncoder as TextEncoder
    from counterpoint.recommend.attributed import AttributedSASRec as AttributedSASRec
    from counterpoint.recommend.interactions import Interactions as Interactions
    from counterpoint.recommend.markov import Markov as Markov
    from counterpoint.recommend.mvcrec import MVCrec as MVCrec
    from counterpoint.recommend.sasrec import SASRec as SASRec
    from counterpoint.serving.embeddings import as_embeddings as as_embeddings
    from counterpoint.serving.sklearn import as_sklearn as as_sklearn
    from counterpoint.text.clusters.claim2vec import Claim2Vec as Claim2Vec
    from counterpoint.text.contrast import Contrast as Contrast
    from counterpoint.text.labels.classifier import TextClassifier as TextClassifier
    from counterpoint.text.labels.guardrail import ShortcutGuardrail as ShortcutGuardrail
    from counterpoint.text.labels.labelled import LabelledTexts as LabelledTexts
    from counterpoint.text.pairs import Pairs as Pairs
    from counterpoint.text.private.damper import Damper as Damper
    from counterpoint.text.private.spans import SpannedTexts as SpannedTexts
    from counterpoint.training import Batch as Batch
    from counterpoint.training import Clock as Clock
    from counterpoint.training import Keep as Keep
    from counterpoint.training import Method as Method
    from counterpoint.training import MethodConfig as MethodConfig
    from counterpoint.training import Optim as Optim
    from counterpoint.training import Phase as Phase
    from counterpoint.training import Run as Run
    from counterpoint.training import SGDConfig as SGDConfig
    from counterpoint.training import Trainer as Trainer
    from counterpoint.training import load as load
    from counterpoint.training import rng as rng

_HOMES = {
    "counterpoint.agents.clear": ("CLEAR",),
    "counterpoint.agents.questions": ("Questions",),
    "counterpoint.agents.tf_ttcl": ("TFTTCL",),
    "counterpoint.agents.trajectories": ("Trajectories",),
    "counterpoint.errors": ("UserError",),
    "counterpoint.graphs.grace": ("GRACE",),
    "counterpoint.graphs.graph": ("AttributedGraph",),
    "counterpoint.graphs.sdm_scr": ("SDMSCR",),
    "counterpoint.multimodal.cca.ridge": ("RidgeCCA",),
    "counterpoint.multimodal.clip": ("CLIP",),
    "counterpoint.multimodal.gated_symile": ("GatedSymile",),
    "counterpoint.multimodal.cca.gcca": ("GCCA",),
    "counterpoint.multimodal.gram": ("GRAM",),
    "counterpoint.multimodal.cca.kcca": ("KCCA",),
    "counterpoint.multimodal.hcl.deep": ("HCL",),
    "counterpoint.multimodal.hcl.linear": ("HCLLinear",),
    "counterpoint.multimodal.cca.mcca": ("MCCA",),
    "counterpoint.multimodal.symile": ("Symile",),
    "counterpoint.multimodal.table": ("Table", "View", "read_table"),
    "counterpoint.multimodal.triangle": ("TRIANGLE",),
    "counterpoint.serving.embeddings": ("as_embeddings",),
    "counterpoint.serving.sklearn": ("as_sklearn",),
    "counterpoint.text.clusters.claim2vec": ("Claim2Vec",),
    "counterpoint.text.contrast": ("Contrast",),
    "counterpoint.text.private.damper": ("Damper",),
    "counterpoint.pretrained.texts": ("TextEncoder",),
    "counterpoint.recommend.attributed": ("AttributedSASRec",),
    "counterpoint.recommend.interactions": ("Interactions",),
    "counterpoint.recommend.markov": ("Markov",),
    "counterpoint.recommend.mvcrec": ("MVCrec",),
    "counterpoint.recommend.sasrec": ("SASRec",),
    "counterpoint.text.labels.classifier": ("TextClassifier",),
    "counterpoint.text.labels.guardrail": ("ShortcutGuardrail",),
    "counterpoint.text.labels.labelled": ("LabelledTexts",),
    "counterpoint.text.pairs": ("Pairs",),
    "counterpoint.text.private.spans": ("SpannedTexts",),
    "counterpoint.training": (
        *("Batch", "Clock", "Keep", "Method", "MethodConfig", "Optim", "Phase", "Run", "SGDConfig", "Trainer"),
        *("load", "rng"),
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("counterpoint")
    if name not in _HOME:
        raise AttributeError(f"module 'counterpoint' has no attribute {name!r}")
    value = getattr(_imported(_HOME[name]), name)
    globals()[name] = value
    return value


def _imported(module: str) -> ModuleType:
    """A module, with the garbage collector told to leave alone what imports make.

    Modules stay, and with torch they are a million objects: to walk them during the import, and again at exit, takes a
    fifth of the time of `import torch`.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__", "__doc__", "__file__", "__name__", "__path__"])
