"""The rows of the recommend wing."""

from typing import Any

from counterpoint.catalog.row import Row


def _recommender(name: str, target: str, paper: str, summary: str, **more: Any) -> Row:
    """A method of the recommend wing, judged against the tuned Markov chain."""
    shared = {"status": "exact", "against": "markov"} | more
    return Row(
        name=name,
        target=f"counterpoint.recommend.{target}",
        wing="recommend",
        data="counterpoint.recommend.interactions:Interactions",
        paper=paper,
        summary=summary,
        **shared,
    )


def _counted(name: str, target: str, paper: str, summary: str, extra: str | None = None) -> Row:
    """A recommender that counts."""
    return _recommender(name, target, paper, summary, status="baseline", against=None, extra=extra)


ROWS = (
    _recommender(
        "sasrec",
        "sasrec:SASRec",
        paper="arXiv 1808.09781",
        summary="self-attention over a history, with a softmax over all items",
        status="partial",
    ),
    _recommender(
        "sasrec-attributes",
        "attributed:AttributedSASRec",
        paper="no paper",
        summary="sasrec, and an item's attributes as its second view, by which new items are known",
        claim="counterpoint.recommend.cold_claims:COLD_ITEMS",
        further_claims=("counterpoint.recommend.cold_claims:COLD_ITEMS_SIMULATED",),
    ),
    _recommender(
        "mvcrec",
        "mvcrec:MVCrec",
        paper="arXiv 2604.14114",
        summary="a history as ids and through the item graph, contrasted and fused",
        claim="counterpoint.recommend.mvcrec_claims:MVCREC",
        further_claims=("counterpoint.recommend.mvcrec_claims:MVCREC_ALL",),
    ),
    _recommender(
        "gru4rec",
        "gru4rec:GRU4Rec",
        paper="arXiv 1511.06939",
        summary="a recurrent network over a history, with a softmax over all items",
        status="partial",
    ),
    _recommender(
        "lightgcn",
        "lightgcn:LightGCN",
        paper="arXiv 2002.02126",
        summary="vectors averaged along the graph of who took what",
        status="partial",
    ),
    _recommender(
        "cl4srec",
        "cl4srec:CL4SRec",
        paper="arXiv 2010.14395",
        summary="sasrec, and two altered copies of a history contrasted",
        status="partial",
    ),
    _recommender(
        "duorec",
        "duorec:DuoRec",
        paper="arXiv 2110.05730",
        summary="sasrec, and histories that want the same item contrasted",
        status="partial",
    ),
    _recommender(
        "bdpl",
        "bdpl:BDPL",
        paper="arXiv 2604.14581",
        summary="typed transitions, and long- and short-term preference from auxiliary and target behaviour",
        status="reconstruction",
        claim="counterpoint.recommend.bdpl_claims:BDPL_RETAIL_ROCKET",
        further_claims=tuple(f"counterpoint.recommend.bdpl_claims:BDPL_{name}" for name in ("MOVIELENS", "SIMULATED")),
    ),
    _recommender(
        "crgcn",
        "crgcn:CRGCN",
        paper="arXiv 2604.14581",
        summary="a cascade of graphs of who took what, one per behaviour",
        status="reconstruction",
    ),
    _counted("popularity", "counts:Popularity", "no paper", "what most events are of"),
    _counted("last-click", "counts:LastClick", "no paper", "the latest items of the history itself"),
    _counted("transitions", "markov:Transitions", "no paper", "what came next after the last item and behaviour"),
    _counted(
        "markov", "markov:Markov", "no paper", "the item graph's Markov chain, its knobs chosen on held-out events"
    ),
    _counted(
        "item-knn",
        "neighbours:ItemKNN",
        "doi 10.1145/963770.963776",
        "items that the same people took, by the library implicit",
        extra="recommend",
    ),
    _counted(
        "als",
        "als:ALS",
        "doi 10.1109/ICDM.2008.22",
        "who took what as a product of vectors, by the library implicit",
        extra="recommend",
    ),
)
