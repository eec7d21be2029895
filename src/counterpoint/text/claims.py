"""What is claimed for the text wing, as data."""

from counterpoint.evaluation import Arm, Better, Claim
from counterpoint.text.judge import retrieval
from counterpoint.text.nfcorpus import nfcorpus, nfcorpus_quick, shuffled_documents

MINILM = {"base": "minilm", "max_length": 128}

CONTRAST = Claim(
    name="contrast",
    sentence="Fine-tuning MiniLM on NFCorpus's training questions lets questions it has not seen find more of their "
    "documents",
    source="arXiv 1705.00652 (the loss; the data and the claim are ours)",
    arms=(
        Arm("contrast", "contrast", MINILM, about="in-batch InfoNCE, all weights learn"),
        Arm("base", "contrast", MINILM, role="baseline", budget={"epochs": 0}, about="MiniLM as it is"),
        Arm(
            "placebo",
            "contrast",
            MINILM,
            role="placebo",
            data=shuffled_documents,
            about="the same texts, paired at random in training",
        ),
    ),
    predictions=(
        Better("ndcg10", "contrast", than="base"),
        Better("ndcg10", "contrast", than="placebo"),
        Better("recall100", "contrast", than="base", required=False),
        Better("mrr10", "contrast", than="base", required=False),
    ),
    data=nfcorpus,
    judge=retrieval,
    seeds=(0, 1, 2),
    budget={"epochs": 1, "batch_size": 64, "optim": {"lr": 2e-5, "warmup": 16, "schedule": "linear"}},
    cut="texts to 128 tokens, at most 2 of the 43 training documents of a question; all test questions and documents",
    quick={"data": nfcorpus_quick, "seeds": (0,), "budget": {"epochs": 1, "batch_size": 32}},
)
