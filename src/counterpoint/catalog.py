"""Every method there is, one row each; read without importing torch.

Third parties add rows through the entry-point group `counterpoint.methods`: each entry point's value is a `Row`
in a module that does not import torch.
"""

import importlib
import json
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from counterpoint.errors import UserError, nearest

GROUP = "counterpoint.methods"
RESULTS = Path(__file__).parent / "results"
"""The committed result of each claim, `<method>.json`; the claims board is generated from these files."""


@dataclass(frozen=True)
class Row:
    """A method as the catalog knows it; targets are `module:Name`, imported only when asked for.

    `data` has a classmethod `read(path, **options)`; `against` names the closed-form baseline that a fit is judged
    against; `verify` runs `further_claims` after `claim`; `extra` is the extra of the package that the method needs.

    >>> row("clip").target
    'counterpoint.multimodal.clip:CLIP'
    """

    name: str
    target: str
    wing: str
    data: str
    paper: str
    status: Literal["exact", "partial", "reconstruction", "baseline"]
    claim: str | None = None
    extra: str | None = None
    summary: str = ""
    against: str | None = None
    further_claims: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import the method's class."""
        return resolve(self.target, self.extra)

    def reader(self) -> Any:
        """Import the class that reads the method's data."""
        return resolve(self.data, self.extra)


def resolve(target: str, extra: str | None = None) -> Any:
    """Import `module:Name`; raises `UserError` naming the extra to install when a package of it is absent.

    >>> resolve("math:sqrt")(9.0)
    3.0
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as missing:
        if extra is None:
            raise
        raise UserError(f"{missing.name} is not installed; run: pip install 'counterpoint[{extra}]'") from None


def _table_method(name: str, target: str, paper: str, summary: str, **more: Any) -> Row:
    """A learned method of the multimodal wing, judged against ridge CCA."""
    shared = {"status": "exact", "against": "ridge-cca"} | more
    return Row(
        name=name,
        target=f"counterpoint.multimodal.{target}",
        wing="multimodal",
        data="counterpoint.multimodal.table:Table",
        paper=paper,
        summary=summary,
        **shared,
    )


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


OWN = (
    _table_method(
        "clip",
        "clip:CLIP",
        paper="arXiv 2103.00020",
        summary="symmetric InfoNCE over every pair of views",
        claim="counterpoint.multimodal.digit_claims:CLIP",
        further_claims=(
            "counterpoint.multimodal.digit_claims:CLIP_FEW_LABELS",
            *(
                f"counterpoint.multimodal.table_claims:TABLE_{name}"
                for name in ("DIGITS", "ALZHEIMER", "MIMIC", "EICU", "CLOTHING")
            ),
        ),
    ),
    _table_method(
        "symile",
        "symile:Symile",
        paper="arXiv 2411.01053",
        summary="all views at once through the product of their vectors",
        claim="counterpoint.multimodal.symile_claims:SYMILE",
        further_claims=("counterpoint.multimodal.symile_claims:SYMILE_EIGHT",),
    ),
    _table_method(
        "gated-symile",
        "gated_symile:GatedSymile",
        paper="arXiv 2604.05834",
        summary="Symile with a gate that switches untrustworthy views off",
        claim="counterpoint.multimodal.claims:GATED_SYMILE",
        further_claims=tuple(
            f"counterpoint.multimodal.claims:GATED_SYMILE_{name}" for name in ("DIGITS", "RAW", "GAUSSIAN")
        ),
    ),
    _table_method(
        "gram",
        "gram:GRAM",
        paper="arXiv 2412.11959",
        summary="the volume spanned by the views' vectors",
        status="partial",
    ),
    _table_method(
        "triangle",
        "triangle:TRIANGLE",
        paper="arXiv 2509.24734",
        summary="the area between three views' vectors",
        status="partial",
    ),
    _table_method(
        "hcl",
        "hcl:HCL",
        paper="arXiv 2604.05462",
        summary="what all views share, what some share and what is private, with a head for each",
        claim="counterpoint.multimodal.hcl_claims:HCL",
        status="reconstruction",
        further_claims=tuple(
            f"counterpoint.multimodal.hcl_claims:HCL_{name}" for name in ("LINEAR", "DOWNSTREAM", "POSTERIOR")
        ),
    ),
    _table_method(
        "hcl-linear",
        "hcl_linear:HCLLinear",
        paper="arXiv 2604.05462",
        summary="the same as linear factors, solved from the covariance",
        claim="counterpoint.multimodal.hcl_claims:HCL_LINEAR",
        further_claims=tuple(f"counterpoint.multimodal.hcl_claims:HCL_{name}" for name in ("DOWNSTREAM", "POSTERIOR")),
    ),
    _table_method(
        "urmf",
        "urmf:URMF",
        paper="arXiv 2604.06728",
        summary="a class from several views, each weighted by how certain it is",
        status="reconstruction",
        claim="counterpoint.multimodal.urmf_claims:URMF",
        further_claims=tuple(f"counterpoint.multimodal.urmf_claims:URMF_{name}" for name in ("MMSD2", "LEAK")),
        against=None,
    ),
    _table_method(
        "ridge-cca",
        "cca:RidgeCCA",
        paper="Vinod 1976",
        summary="canonical correlations of each pair of views, ridge tuned on validation rows",
        status="baseline",
        against=None,
    ),
    _table_method(
        "mcca",
        "mcca:MCCA",
        paper="Kettenring 1971",
        summary="one linear space for all views",
        status="baseline",
        against=None,
    ),
    _table_method(
        "gcca",
        "gcca:GCCA",
        paper="Afshin-Pour et al. 2012",
        summary="one linear space from the principal components of each view",
        status="baseline",
        against=None,
    ),
    _table_method(
        "kcca",
        "kcca:KCCA",
        paper="Bach and Jordan 2002",
        summary="one space for all views through a Gaussian kernel of each",
        status="baseline",
        against=None,
    ),
    Row(
        name="contrast",
        target="counterpoint.text.contrast:Contrast",
        wing="text",
        data="counterpoint.text.pairs:Pairs",
        paper="arXiv 1705.00652",
        status="exact",
        claim="counterpoint.text.claims:CONTRAST",
        extra="text",
        summary="a pretrained text encoder fine-tuned on texts that belong together",
    ),
    Row(
        name="claim2vec",
        target="counterpoint.text.claim2vec:Claim2Vec",
        wing="text",
        data="counterpoint.text.pairs:Pairs",
        paper="arXiv 2604.09812",
        status="reconstruction",
        claim="counterpoint.text.claim2vec_claims:CLAIM2VEC",
        extra="text",
        summary="a text encoder fine-tuned so that claims which say the same cluster, across languages",
    ),
    Row(
        name="text-classifier",
        target="counterpoint.text.classifier:TextClassifier",
        wing="text",
        data="counterpoint.text.labelled:LabelledTexts",
        paper="no paper",
        status="baseline",
        extra="text",
        summary="a classifier fine-tuned plainly, or guarded by JTT, NFL or DFR",
    ),
    Row(
        name="shortcut-guardrail",
        target="counterpoint.text.guardrail:ShortcutGuardrail",
        wing="text",
        data="counterpoint.text.labelled:LabelledTexts",
        paper="arXiv 2604.12277",
        status="exact",
        claim="counterpoint.text.guardrail_claims:GUARDRAIL",
        extra="text",
        summary="a shipped classifier freed of shortcuts, with unlabelled texts and 40 labels",
    ),
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
        paper="arXiv 2604.14581, a baseline",
        summary="a cascade of graphs of who took what, one per behaviour",
        status="reconstruction",
    ),
    Row(
        name="tf-ttcl",
        target="counterpoint.agents.tf_ttcl:TFTTCL",
        wing="agents",
        data="counterpoint.agents.questions:Questions",
        paper="arXiv 2604.13552",
        status="exact",
        extra="agents",
        claim="counterpoint.agents.claims:TF_TTCL",
        summary="a frozen language model that writes itself rules from its own best and worst answers",
    ),
    Row(
        name="clear",
        target="counterpoint.agents.clear:CLEAR",
        wing="agents",
        data="counterpoint.agents.trajectories:Trajectories",
        paper="arXiv 2604.07487",
        status="reconstruction",
        extra="agents",
        claim="counterpoint.agents.claims:CLEAR_APPS",
        further_claims=("counterpoint.agents.claims:CLEAR_WEBSHOP",),
        summary="guidance for a task, written by a model that learned from good and bad runs of others",
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
    _nodes(
        "sdm-scr",
        "sdm_scr:SDMSCR",
        paper="arXiv 2604.14746",
        summary="signal told from noise in each node's text, and only the signal smoothed along the edges",
        status="reconstruction",
        claim="counterpoint.graphs.claims:SDM_SCR",
        further_claims=("counterpoint.graphs.claims:SDM_SCR_CORA",),
    ),
    _nodes(
        "grace",
        "grace:GRACE",
        paper="arXiv 2006.04131",
        summary="two random views of a graph, every node found again among all nodes",
    ),
    _nodes(
        "gca",
        "gca:GCA",
        paper="arXiv 2010.14945",
        summary="grace, whose views keep what is central",
    ),
    _nodes(
        "dgi",
        "dgi:DGI",
        paper="arXiv 1809.10341",
        summary="nodes told from corrupted ones by a summary of the whole graph",
    ),
    _nodes(
        "bgrl",
        "bgrl:BGRL",
        paper="arXiv 2102.06514",
        summary="a network predicts what its slow copy makes of another view, without negatives",
        status="partial",
    ),
    _nodes(
        "barlow-graph",
        "barlow_graph:BarlowGraph",
        paper="arXiv 2106.02466",
        summary="two views of a graph whose dimensions agree one by one and are otherwise uncorrelated",
        status="partial",
    ),
    _nodes(
        "cca-ssg",
        "cca_ssg:CCASSG",
        paper="arXiv 2106.12484",
        summary="canonical correlation between two random views of a graph",
    ),
    _nodes(
        "graphmae",
        "graphmae:GraphMAE",
        paper="arXiv 2205.10803",
        summary="features of masked nodes made up from the rest of the graph",
        status="partial",
    ),
    _nodes(
        "sgc",
        "sgc:SGC",
        paper="arXiv 1902.07153",
        summary="features averaged over neighbours, without learning",
        status="baseline",
        against=None,
    ),
    _nodes(
        "text-logistic",
        "text_logistic:TextLogistic",
        paper="no paper",
        summary="each node's own frozen text vector, without edges",
        status="baseline",
        against=None,
    ),
    _nodes(
        "gcn",
        "gcn:SupervisedGCN",
        paper="arXiv 1609.02907",
        summary="graph convolutions that learn classes, an upper reference",
        status="baseline",
        against=None,
    ),
)


def rows() -> dict[str, Row]:
    """All methods by name: our own, then third parties' in the order of their names.

    Raises `UserError` when an entry point cannot be loaded or takes a name that is in use.
    """
    found = {row.name: row for row in OWN}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        theirs = _third_party(entry)
        if theirs.name in found:
            raise UserError(f'{_package(entry)}: its method "{theirs.name}" has the name of another method')
        found[theirs.name] = theirs
    return found


def row(name: str) -> Row:
    """The row of one method; raises `UserError` with the nearest name when there is none."""
    for own in OWN:
        if own.name == name:
            return own
    known = rows()
    if name not in known:
        raise UserError(f'unknown method "{name}"; {nearest(name, known)}')
    return known[name]


def name_of(method: type) -> str:
    """The catalog name of a method's class; raises `UserError` when it has none."""
    for known in rows().values():
        if known.target.endswith(f":{method.__qualname__}") and known.load() is method:
            return known.name
    raise UserError(f"{method.__module__}:{method.__qualname__} is not in the catalog; see CONTRIBUTING.md for its row")


def latest_verdict(name: str) -> str | None:
    """What the committed run of a method's claim concluded (of its quick form, where there is no full run), or None.

    Raises `UserError` when the result file is damaged.
    """
    for path, note in ((RESULTS / f"{name}.json", ""), (RESULTS / f"{name}-quick.json", " (quick)")):
        if path.exists():
            try:
                return str(json.loads(path.read_text(encoding="utf-8"))["verdict"]) + note
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}: not the result of a claim; restore it from the repository") from None
    return None


Entry = Any
"""An entry point: Python's own, or that of the back-port `importlib_metadata`, which takes over once imported."""


def _third_party(entry: Entry) -> Row:
    try:
        loaded = entry.load()
    except Exception as error:
        raise UserError(
            f'{_package(entry)}: its method "{entry.name}" cannot be loaded ({error}); mend or uninstall it'
        ) from error
    if not isinstance(loaded, Row):
        raise UserError(f'{_package(entry)}: its entry point "{entry.name}" is not a counterpoint.catalog.Row')
    return loaded


def _package(entry: Entry) -> str:
    return str(entry.value if entry.dist is None else entry.dist.name)
