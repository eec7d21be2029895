"""The rows of the graphs wing."""

from typing import Any

from counterpoint.catalog.row import Row


def _nodes(name: str, target: str, paper: str, summary: str, **more: Any) -> Row:
    """A method of the graphs wing, judged against averages over neighbours."""
    shared = {"status": "exact", "against": "sgc"} | more
    return Row(
        name=name,
        target=f"counterpoint.graphs.{target}",
        wing="graphs",
        data="counterpoint.graphs.graph:AttributedGraph",
        paper=paper,
        summary=summary,
        **shared,
    )


def _still(name: str, target: str, paper: str, summary: str) -> Row:
    """A baseline of the graphs wing."""
    return _nodes(name, target, paper, summary, status="baseline", against=None)


ROWS = (
    _nodes(
        "sdm-scr",
        "sdm_scr:SDMSCR",
        paper="arXiv 2604.14746",
        summary="signal told from noise in each node's text, and only the signal smoothed along the edges",
        status="reconstruction",
        claim="counterpoint.graphs.claims:SDM_SCR",
        further_claims=("counterpoint.graphs.claims:SDM_SCR_CORA", "counterpoint.graphs.claims:SDM_SCR_MODEL"),
    ),
    _nodes(
        "grace", "grace:GRACE", "arXiv 2006.04131", "two random views of a graph, all nodes compared with each other"
    ),
    _nodes("gca", "gca:GCA", "arXiv 2010.14945", "grace, whose views keep what is central"),
    _nodes("dgi", "dgi:DGI", "arXiv 1809.10341", "nodes told from corrupted ones by a summary of the whole graph"),
    _nodes(
        "bgrl", "bgrl:BGRL", "arXiv 2102.06514", "a slow copy's vectors predicted, without negatives", status="partial"
    ),
    _nodes(
        "barlow-graph",
        "barlow_graph:BarlowGraph",
        "arXiv 2106.02466",
        "two views of a graph whose dimensions agree one by one and are otherwise uncorrelated",
        status="partial",
    ),
    _nodes(
        "cca-ssg", "cca_ssg:CCASSG", "arXiv 2106.12484", "canonical correlation between two random views of a graph"
    ),
    _nodes("graphmae", "graphmae:GraphMAE", "arXiv 2205.10803", "features of masked nodes made up", status="partial"),
    _still("sgc", "sgc:SGC", "arXiv 1902.07153", "features averaged over neighbours, without learning"),
    _still(
        "text-logistic", "text_logistic:TextLogistic", "no paper", "each node's own frozen text vector, without edges"
    ),
    _still("gcn", "gcn:SupervisedGCN", "arXiv 1609.02907", "graph convolutions that learn classes, an upper reference"),
)
