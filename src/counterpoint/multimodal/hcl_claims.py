"""What the paper on hierarchical contrastive learning says, as data: structures are recovered, and are of use."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from counterpoint.evaluation import Above, Arm, Better, Claim, Falls, Mean, Outcome
from counterpoint.multimodal.claims import shuffled_view
from counterpoint.multimodal.simulate.hcl import MadeTable, Truth, block_errors, factors_of, hcl
from counterpoint.multimodal.table import Table

KINDS = {3: "joint", 2: "pair", 1: "private"}


def truth_of(table: Table) -> Truth:
    """What made a simulated table."""
    assert isinstance(table, MadeTable)
    assert table.truth is not None
    return table.truth


# --- the linear estimator: are the blocks recovered


def linear_rows(seed: int, n: int, noise: float = 1.0) -> tuple[Table, Table, Table]:
    """Three views of 60 columns, 3 factors per structure; other rows of the same world to judge on."""
    return tuple(hcl(size, noise=noise, seed=seed, draw=draw) for draw, size in enumerate((n, 100, 100)))  # type: ignore[return-value]


def recovery(method: Any, table: Table) -> Outcome:
    """The relative error of each block's Gram matrix, and of all loadings together; a row per block.

    They depend on the fit alone, so all are drawn together: intervals are over seeds.
    """
    truth = truth_of(table)
    errors = block_errors({key: block.double().numpy() for key, block in method.blocks().items()}, truth)
    kinds = [KINDS[name.count("+") + 1] for _, name in errors]
    found, true = method.loadings.double().numpy(), truth.loadings
    whole = np.linalg.norm(found @ found.T - true @ true.T) / np.linalg.norm(true @ true.T)
    columns = {"error": np.array([*errors.values(), whole]), "kind": np.array([*kinds, "whole"])}
    measures = {kind: Mean("error", where=("kind", kind)) for kind in (*KINDS.values(), "whole")}
    ids = np.array([f"{view} in {name}" for view, name in errors] + ["whole"])
    return Outcome(ids, columns, measures, unit=np.zeros(len(ids), dtype=int))


RANK = {"ranks": (3,), "scaling": "none"}
"""All arms know the number of factors; inputs are as they are, so that the noise is equal in all columns."""
SIZES = tuple({"n": n} for n in (1000, 3000, 10_000, 30_000))
MOST = SIZES[-1]
RELEASED = {"start": "released", "refine": "released"}
_METHOD = "hcl-linear"


def _above(arm: str, kind: str, **more: Any) -> Better:
    return Better(kind, arm, than="hcl", name=f"error of {kind} blocks: {arm} above hcl", **more)


HCL_LINEAR = Claim(
    name="hcl-linear",
    sentence="With factors shared by all, by pairs and by none, HCL finds every block of loadings, the error falling "
    "with n, while SVD and one shared space beside private ones do not",
    source="arXiv 2604.05462",
    arms=(
        Arm("hcl", _METHOD, RANK, about="peeling, then the masked fit until it has converged"),
        Arm("svd", _METHOD, RANK | {"solver": "svd"}, role="baseline", about="leading eigenvectors, less the noise"),
        Arm("shared-private", _METHOD, RANK | {"structures": "shared-private"}, role="baseline"),
        Arm("released", _METHOD, RANK | RELEASED, role="ablation", about="peeling view by view, steps that freeze"),
        Arm("peeling", _METHOD, RANK | {"refine": "none"}, role="ablation", about="whole structures, no refinement"),
        Arm("random start", _METHOD, RANK | {"start": "random"}, role="ablation"),
        Arm("placebo", _METHOD, RANK, role="placebo", data=shuffled_view, about="last view shuffled in training"),
    ),
    predictions=(
        *(Falls(kind, "hcl", along="n", name=f"error of {kind} blocks falls with n") for kind in KINDS.values()),
        *(_above(arm, kind, where=MOST) for arm in ("svd", "shared-private") for kind in ("joint", "pair")),
        _above("svd", "private", where=MOST),
        Above("pair", "svd", 0.5, where=MOST, name="svd's error of pair blocks stays above 0.5"),
        _above("placebo", "joint", where=MOST),
        Better("whole", "released", than="hcl", where=MOST, name="steps that freeze leave the whole matrix wrong"),
        _above("shared-private", "private", where=MOST, required=False),
        Better("whole", "svd", than="hcl", where=MOST, required=False, name="error of the whole: svd above hcl"),
        Better(
            "whole", "peeling", than="hcl", where=MOST, required=False, name="error of the whole: peeling above hcl"
        ),
    ),
    data=linear_rows,
    judge=recovery,
    seeds=(1, 2, 3, 4, 5),
    settings=SIZES,
    cut="5 seeds instead of 100; 60 columns a view and 3 factors a structure instead of up to 800 and 10",
    quick={
        "seeds": (1, 2, 3),
        "settings": ({"n": 1000}, {"n": 10_000}),
        "arms": (
            Arm("hcl", _METHOD, RANK),
            Arm("svd", _METHOD, RANK | {"solver": "svd"}, role="baseline"),
            Arm("shared-private", _METHOD, RANK | {"structures": "shared-private"}, role="baseline"),
            Arm("placebo", _METHOD, RANK, role="placebo", data=shuffled_view),
        ),
        "predictions": (
            *(Falls(kind, "hcl", along="n", name=f"error of {kind} blocks falls with n") for kind in KINDS.values()),
            *(
                _above(arm, kind, where={"n": 10_000})
                for arm in ("svd", "shared-private")
                for kind in ("joint", "pair")
            ),
            _above("placebo", "joint", where={"n": 10_000}),
        ),
        "cut": "three seeds, two sizes, four arms",
    },
)


# --- the linear estimator: is it of use for a label


def labelled_rows(seed: int, labelled: int, active: str) -> tuple[Table, Table, Table]:
    """5,000 rows of which some have y, a sum over the factors of all structures or of two ("A + B" and "C") alone."""
    chosen = None if active == "all" else (("A", "B"), ("C",))
    train, validation, test = (
        hcl(size, noise=1.0, seed=seed, draw=draw, active=chosen) for draw, size in enumerate((5000, 100, 2000))
    )
    y = train.columns["y"].copy()
    y[labelled:] = np.nan
    return replace(train, columns={**train.columns, "y": y}), validation, test


def shuffled_label(train: Table, generator: torch.Generator) -> Table:
    """Placebo: the known labels, each given to another labelled row."""
    y = train.columns["y"].copy()
    known = np.flatnonzero(np.isfinite(y))
    y[known] = y[known[torch.randperm(len(known), generator=generator).numpy()]]
    return replace(train, columns={**train.columns, "y": y})


def excess_risk(method: Any, table: Table) -> Outcome:
    """Per row the squared distance of the prediction from the best there is, the mean of y given all views."""
    said = np.array(method.predict(table).labels, dtype=np.float64)
    excess = np.square(said - table.columns["best"])
    return Outcome(table.ids, {"excess": excess}, {"excess": Mean("excess")})


DOWNSTREAM = tuple({"labelled": labelled, "active": active} for active in ("all", "two") for labelled in (100, 1000))
SPARSE = {"labelled": 100, "active": "two"}


def _label(regression: str, **more: Any) -> dict[str, Any]:
    return RANK | {"label": "y", "regression": regression} | more


def _lasso_arms(regression: str) -> tuple[Arm, ...]:
    """The group lasso over three divisions of the factors into groups, and on shuffled labels."""
    return (
        Arm("hcl", _METHOD, _label(regression), about="groups are HCL's structures"),
        Arm("svd", _METHOD, _label(regression, solver="svd"), role="baseline", about="leading eigenvectors"),
        Arm("shared-private", _METHOD, _label(regression, structures="shared-private"), role="baseline"),
        Arm("no penalty", _METHOD, _label(regression, penalties=(1e-9,)), role="ablation"),
        Arm("placebo", _METHOD, _label(regression), role="placebo", data=shuffled_label, about="labels shuffled"),
    )


def _riskier(arm: str, where: dict[str, Any], **more: Any) -> Better:
    at = ", ".join(f"{key} = {value}" for key, value in where.items())
    return Better(
        "excess", arm, than="hcl", where=where, name=f"excess risk of {arm} above that of hcl at {at}", **more
    )


HCL_DOWNSTREAM = Claim(
    name="hcl-downstream",
    sentence="A group lasso over HCL's structures predicts with less excess risk than over SVD's or shared-private's, "
    "on noise-corrected least squares",
    source="arXiv 2604.05462; labels that depend on two structures alone are ours",
    arms=(
        *_lasso_arms("corrected"),
        Arm("posterior", _METHOD, _label("posterior"), role="ablation", about="on the factors' means instead"),
    ),
    predictions=(
        _riskier("svd", SPARSE),
        _riskier("shared-private", SPARSE),
        _riskier("no penalty", SPARSE),
        _riskier("placebo", SPARSE),
        _riskier("svd", {"labelled": 1000, "active": "two"}, required=False),
        _riskier("svd", {"labelled": 100, "active": "all"}, required=False),
        _riskier("shared-private", {"labelled": 100, "active": "all"}, required=False),
        _riskier("posterior", SPARSE, required=False),
    ),
    data=labelled_rows,
    judge=excess_risk,
    seeds=(1, 2, 3, 4, 5),
    settings=DOWNSTREAM,
    cut="5,000 rows, of which 100 or 1,000 have a label, instead of 10,000; 3 factors a structure instead of 5",
)

HCL_POSTERIOR = Claim(
    name="hcl-posterior",
    sentence="Regressed on the factors' means, a group lasso over HCL's structures predicts with less excess risk than "
    "over SVD's or shared-private's when few structures matter",
    source="ours, written after hcl-downstream had shown that 100 labels are too few for corrected least squares",
    arms=_lasso_arms("posterior"),
    predictions=(
        _riskier("svd", SPARSE),
        _riskier("shared-private", SPARSE),
        _riskier("svd", {"labelled": 1000, "active": "two"}),
        _riskier("shared-private", {"labelled": 1000, "active": "two"}),
        _riskier("no penalty", SPARSE),
        _riskier("placebo", SPARSE),
        _riskier("svd", {"labelled": 100, "active": "all"}, required=False),
        _riskier("shared-private", {"labelled": 100, "active": "all"}, required=False),
    ),
    data=labelled_rows,
    judge=excess_risk,
    seeds=(11, 12, 13, 14, 15),
    settings=DOWNSTREAM,
    cut=HCL_DOWNSTREAM.cut,
)


# --- the deep method: do structures hold their own factors


def mixed_rows(seed: int, mixture: Any = "nonlinear") -> tuple[Table, Table, Table]:
    """Three views of 30 columns, 2 factors per structure, little noise."""
    train, validation, test = (
        hcl(size, (30, 30, 30), rank=2, noise=0.1, mixture=mixture, seed=seed, draw=draw)
        for draw, size in enumerate((8000, 500, 4000))
    )
    return train, validation, test


def separation(method: Any, table: Table) -> Outcome:
    """How much of the true factors a linear map finds in each structure: its own (`own`), others' (`leak`).

    A map is fitted on the first half of the rows and judged on the second, per row 1 minus the squared error, mean over
    factors of unit variance. `separated` is own minus leak; `joint`, `pair` and `private` are its own by kind; `whole`
    looks into all structures together. A structure that a method does not have tells nothing; a method without any
    is asked for every factor in its one space.
    """
    structures = truth_of(table).layout.structures
    z, half = torch.from_numpy(factors_of(table)), len(table) // 2
    spaces = _spaces(method, table)
    own, leak = [], []
    columns: dict[str, Any] = {}
    for k, members in enumerate(structures.members):
        told = _told(spaces.get(structures.name(k), spaces.get("")), z, half)
        mine = structures.columns[k]
        others = torch.ones(z.shape[1], dtype=torch.bool)
        others[mine] = False
        own.append(told[:, mine].mean(dim=1))
        leak.append(told[:, others].mean(dim=1))
        columns.setdefault(KINDS[len(members)], []).append(own[-1])
    columns = {name: torch.stack(parts).mean(dim=0) for name, parts in columns.items()}
    columns |= {"own": torch.stack(own).mean(dim=0), "leak": torch.stack(leak).mean(dim=0)}
    columns["separated"] = columns["own"] - columns["leak"]
    columns["whole"] = _told(torch.cat(list(spaces.values()), dim=1), z, half).mean(dim=1)
    order = ("separated", "own", "leak", *KINDS.values(), "whole")
    return Outcome(table.ids[half:], {n: columns[n].numpy() for n in order}, {n: Mean(n) for n in order})


def _spaces(method: Any, table: Table) -> dict[str, Float[torch.Tensor, "n _"]]:
    """The vectors of each structure by its name; of a method without structures, all under ""."""
    if not hasattr(method, "factors"):
        return {"": method.embed(table).double()}
    factors = method.factors(method.embed_views(table)).double()
    return {method.structures.name(k): factors[:, part] for k, part in enumerate(method.structures.columns)}


def _told(vectors: Float[torch.Tensor, "n _"] | None, z: Float[torch.Tensor, "n q"], half: int) -> Any:
    """Per later row and factor, 1 less the squared error of the best linear map of the earlier rows; 0 of nothing."""
    if vectors is None:
        return torch.zeros_like(z[half:])
    x = torch.cat([vectors, torch.ones(len(vectors), 1, dtype=vectors.dtype)], dim=1)
    found = torch.linalg.lstsq(x[:half], z[:half], driver="gelsd").solution
    return 1 - (z[half:] - x[half:] @ found).square()


NETWORK = {"dim": 64, "hidden": 128, "epochs": 20, "batch_size": 256, "optim": {"lr": 2e-3}}
OWN = {"rank": 2, "head": (64,)}
AS_CODE = OWN | {"contrast": "linear", "regulariser": "released", "heads": "level"}


def _separated(than: str, **more: Any) -> Better:
    return Better("separated", "hcl", than=than, **more)


HCL = Claim(
    name="hcl",
    sentence="With an encoder for every view and structure, each structure of the deep method holds its own factors of "
    "a non-linear mixture and not the others', which the released loss does not achieve",
    source="arXiv 2604.05462; the spectral contrast and the measure are ours",
    arms=(
        Arm("hcl", "hcl", OWN, about="spectral contrast, a head per view and structure"),
        Arm("released", "hcl", AS_CODE, role="baseline", about="linear contrast, its regulariser, a head per level"),
        Arm("linear, squared", "hcl", OWN | {"contrast": "linear", "regulariser": "squared"}, role="ablation"),
        Arm("heads per level", "hcl", OWN | {"heads": "level"}, role="ablation"),
        Arm("shared-private", "hcl", OWN | {"structures": "shared-private"}, role="baseline"),
        Arm("clip", "clip", role="baseline", about="one space, asked for every factor"),
        Arm("hcl-linear", _METHOD, {"ranks": (2,)}, role="baseline", budget={}, about="the linear estimator"),
        Arm("placebo", "hcl", OWN, role="placebo", data=shuffled_view, about="last view shuffled in training"),
    ),
    predictions=(
        Above("joint", "hcl", 0.5),
        Above("pair", "hcl", 0.5),
        Above("private", "hcl", 0.25),
        _separated("released"),
        _separated("linear, squared"),
        _separated("shared-private"),
        _separated("clip"),
        _separated("placebo"),
        _separated("heads per level", required=False),
        _separated("hcl-linear", required=False),
    ),
    data=mixed_rows,
    judge=separation,
    seeds=(1, 2, 3),
    budget=NETWORK,
    cut="simulation instead of health records; the number of factors is known; no search of options",
    quick={
        "seeds": (1,),
        "budget": NETWORK | {"epochs": 10},
        "arms": (
            Arm("hcl", "hcl", OWN),
            Arm("released", "hcl", AS_CODE, role="baseline"),
            Arm("hcl-linear", _METHOD, {"ranks": (2,)}, role="baseline", budget={}),
            Arm("placebo", "hcl", OWN, role="placebo", data=shuffled_view),
        ),
        "predictions": (
            Above("joint", "hcl", 0.5),
            Above("pair", "hcl", 0.5),
            _separated("released"),
            _separated("placebo"),
            _separated("hcl-linear", required=False),
        ),
        "cut": "one seed, four arms, 10 epochs",
    },
)
