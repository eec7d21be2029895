"""The rows of the text wing."""

from counterpoint.catalog.row import Row

ROWS = (
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
)
