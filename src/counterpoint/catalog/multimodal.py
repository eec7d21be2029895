"""The rows of the multimodal wing."""

from typing import Any

from counterpoint.catalog.row import Row


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


ROWS = (
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
        "hcl.deep:HCL",
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
        "hcl.linear:HCLLinear",
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
        further_claims=tuple(
            f"counterpoint.multimodal.urmf_claims:URMF_{name}" for name in ("BASELINES", "MMSD2", "LEAK")
        ),
        against=None,
    ),
    _table_method(
        "ridge-cca",
        "cca.ridge:RidgeCCA",
        paper="Vinod 1976",
        summary="canonical correlations of each pair of views, ridge tuned on validation rows",
        status="baseline",
        against=None,
    ),
    _table_method(
        "mcca",
        "cca.mcca:MCCA",
        paper="Kettenring 1971",
        summary="one linear space for all views",
        status="baseline",
        against=None,
    ),
    _table_method(
        "gcca",
        "cca.gcca:GCCA",
        paper="Afshin-Pour et al. 2012",
        summary="one linear space from the principal components of each view",
        status="baseline",
        against=None,
    ),
    _table_method(
        "kcca",
        "cca.kcca:KCCA",
        paper="Bach and Jordan 2002",
        summary="one space for all views through a Gaussian kernel of each",
        status="baseline",
        against=None,
    ),
)
