"""The search budget of the wing's claims: as many trials for every method, chosen on validation rows."""

from collections.abc import Iterable, Mapping

from counterpoint.evaluation.claim import Arm, Options, Search

TRIALS: Mapping[str, tuple[Options, ...]] = {
    "sasrec": tuple({"dropout": d, "optim": {"lr": lr}} for d in (0.2, 0.5) for lr in (1e-3, 3e-3)),
    "gru4rec": tuple({"dropout": d, "optim": {"lr": lr}} for d in (0.2, 0.5) for lr in (1e-3, 3e-3)),
    "cl4srec": tuple({"dropout": d, "contrast": c} for d in (0.2, 0.5) for c in (0.03, 0.1)),
    "duorec": tuple({"dropout": d, "contrast": c} for d in (0.2, 0.5) for c in (0.03, 0.1)),
    "lightgcn": tuple({"layers": k, "loss": loss} for k in (2, 3) for loss in ("bpr", "softmax")),
    "als": tuple({"weight": w, "regularisation": r} for w in (2.0, 10.0) for r in (0.01, 10.0)),
    "item-knn": tuple({"neighbours": n, "weighting": w} for n in (50, 200) for w in ("cosine", "bm25")),
}
"""What is tried for each method; Markov tries its own on held-out training events, the other counts have no knob."""


def searched(
    arms: Iterable[Arm],
    *,
    trials: Mapping[str, tuple[Options, ...]] | None = None,
    follows: Mapping[str, str] | None = None,
    setting: Options | None = None,
    measure: str = "ndcg10",
    seeds: tuple[int, ...] = (100,),
) -> Search:
    """The search of a claim: each arm whose method has trials gets them, those that follow another take its choice.

    `trials` are further methods', by arm or by method, as many each. The best by `measure` on the validation rows of
    `setting` is used for all seeds of an arm; the data of `seeds` should not be the claim's.

    >>> searched([Arm("plain", "sasrec"), Arm("count", "popularity")]).trials.keys()
    dict_keys(['plain'])
    """
    known, following = {**TRIALS, **(trials or {})}, follows or {}
    chosen = {
        arm.name: known.get(arm.name, known.get(arm.method, ()))
        for arm in arms
        if arm.name not in following and (arm.name in known or arm.method in known)
    }
    return Search(chosen, measure, setting or {}, seeds, following)
