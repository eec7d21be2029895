"""What is claimed of Claim2Vec, as data."""

from counterpoint.evaluation import Arm, Better, Claim
from counterpoint.evaluation.predictions import Prediction
from counterpoint.text.clusters.clusterers import ALGORITHMS
from counterpoint.text.clusters.clustering import every_algorithm
from counterpoint.text.clusters.factcheck import claims, claims_quick, shuffled_clusters, translated_only

E5 = {"base": "e5", "max_length": 28}
AS_IT_IS = {"epochs": 0}
TRAINING = {"epochs": 1, "batch_size": 16, "optim": {"lr": 5e-5, "warmup": 4, "schedule": "linear"}}

ARMS = (
    Arm("claim2vec", "claim2vec", E5, about="InfoNCE, a cluster's other rows left out of the denominator"),
    Arm("untuned", "claim2vec", E5, role="baseline", budget=AS_IT_IS, about="multilingual-e5-small as it is"),
    Arm("supcon", "claim2vec", {**E5, "form": "supcon"}, role="ablation", about="all texts of a cluster positive"),
    Arm("plain", "claim2vec", {**E5, "form": "plain"}, role="ablation", about="InfoNCE that knows no clusters"),
    Arm("cosine", "claim2vec", {**E5, "form": "cosine"}, role="ablation", about="cosines regressed to 1 and 0"),
    Arm(
        "translated",
        "claim2vec",
        E5,
        role="ablation",
        data=translated_only,
        about="trained on clusters of both languages alone",
    ),
    Arm(
        "placebo",
        "claim2vec",
        E5,
        role="placebo",
        data=shuffled_clusters,
        about="the same texts in clusters put together at random",
    ),
    Arm("minilm", "claim2vec", {**E5, "base": "minilm"}, role="baseline", budget=AS_IT_IS, about="MiniLM, English"),
    Arm("wordllama", "claim2vec", {**E5, "base": "static"}, role="baseline", budget=AS_IT_IS, about="word vectors"),
    Arm(
        "tf-idf",
        "counterpoint.text.clusters.tfidf:CharacterTfidf",
        role="baseline",
        budget={},
        about="runs of 3 to 5 letters",
    ),
)


def _rises(than: str, *measures: str, required: bool = True) -> tuple[Prediction, ...]:
    return tuple(Better(measure, "claim2vec", than=than, required=required) for measure in measures)


CLAIM2VEC = Claim(
    name="claim2vec",
    sentence="Fine-tuning multilingual-e5-small on pairs of claims that say the same, clusters never their own "
    "negatives, raises ARI and AMI on clusters it has not seen, with every one of seven clustering algorithms and on a "
    "collection in languages not trained on, and most where a cluster mixes languages",
    source="arXiv 2604.09812 (the claim; loss, encoder, data and algorithms are ours)",
    arms=ARMS,
    predictions=(
        *_rises("untuned", *(f"{kind}_{name}" for name in ALGORITHMS for kind in ("ari", "ami"))),
        *_rises("untuned", "ari@unseen", "ami@unseen"),
        *_rises("untuned", "ari_mixed", "ari_mixed_lead"),
        *_rises("placebo", "ari", "ami"),
        *_rises("untuned", "silhouette_gold", "precision", "recall", required=False),
        *_rises("plain", "ari", required=False),
        *_rises("supcon", "ari", required=False),
        *_rises("cosine", "ari", required=False),
        *_rises("translated", "ari", required=False),
        *_rises("minilm", "ari", required=False),
        *_rises("wordllama", "ari", required=False),
        *_rises("tf-idf", "ari", required=False),
    ),
    data=claims,
    judge=every_algorithm,
    seeds=(0, 1, 2),
    budget=TRAINING,
    cut="multilingual-e5-small with frozen words instead of BGE-M3; texts to 28 tokens; one pass over 190 training "
    "clusters of CLEF-2018 debates (English, Arabic) and Snopes, 220 held-out ones, and 50 paragraphs in 2 to 6 of 12 "
    "languages",
    quick={
        "data": claims_quick,
        "seeds": (0,),
        "arms": tuple(arm for arm in ARMS if arm.name in ("claim2vec", "untuned", "placebo", "tf-idf")),
        "predictions": (
            *_rises("untuned", "ari", "ami"),
            *_rises("untuned", "ari_mixed", "ari_mixed_lead", required=False),
            *_rises("placebo", "ari", "ami"),
            *_rises("tf-idf", "ari"),
        ),
    },
)
