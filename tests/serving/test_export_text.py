"""A text method in sentence-transformers, in onnxruntime, and as an embeddings object."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterpoint as cp
from counterpoint.serving.export import export
from counterpoint.text.contrast import Contrast
from counterpoint.training import Trainer, load
from text import tiny

TEXTS = ["word7", "", "word3 word1 unheard word9", "word5 word6 " * 40, "word2 word8 word4"]


@pytest.fixture(scope="module", params=[("mean", 2), ("cls", 0)], ids=["mean with lora", "cls"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned run whose texts are cut at 12 tokens."""
    pooling, lora = request.param
    base = tiny.tiny(0, pooling, query="word1 ", document="word2 ")
    method = Contrast(base=base, lora=lora, batch_size=8, optim={"lr": 0.05}, max_length=12)
    method.fit(tiny.pairs(32, seed=0), trainer=Trainer(progress=False))
    return method.save(tmp_path_factory.mktemp("text") / "run")


def test_sentence_transformers_gives_the_same_vectors(run: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    told = export(run, "sentence-transformers", tmp_path / "made")
    assert told["difference"] < 1e-5
    method: Any = load(run)
    model = library.SentenceTransformer(str(tmp_path / "made"), device="cpu")
    for name, encode in (("query", model.encode_query), ("document", model.encode_document)):
        assert np.allclose(encode(TEXTS), method.embed_texts(TEXTS, name).numpy(), atol=1e-5)
    assert np.allclose(model.encode(TEXTS), method.encoder.encode(TEXTS).numpy(), atol=1e-5)
    untouched = method.encoder.from_source(method.options.base, max_length=12).encode(TEXTS)
    assert np.abs(model.encode(TEXTS) - untouched.numpy()).max() > 1e-3
    assert "# contrast" in (tmp_path / "made" / "README.md").read_text()


def test_onnx_gives_the_same_vectors(run: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from tokenizers import Tokenizer

    export(run, "onnx", tmp_path / "made")
    method: Any = load(run)
    tokenizer = Tokenizer.from_file(str(tmp_path / "made" / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=method.encoder.facts["padding"])
    session = runtime.InferenceSession(tmp_path / "made" / "model.onnx")
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:2]):
        made = tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.array([text.ids for text in made]),
            "attention_mask": np.array([text.attention_mask for text in made]),
        }
        (vectors,) = session.run(None, given)
        assert np.allclose(vectors, method.encoder.encode(texts).numpy(), atol=1e-5)


def test_embeddings_for_vector_stores(run: Path) -> None:
    method: Any = load(run)
    store = cp.as_embeddings(method)
    assert np.allclose(store.embed_documents(TEXTS), method.embed_texts(TEXTS, "document").numpy())
    assert np.allclose(store.embed_query("word7"), method.embed_texts(["word7"], "query")[0].numpy())
    assert not np.allclose(store.embed_query("word7"), store.embed_documents(["word7"])[0], atol=1e-3)
    assert store.embed_documents([]) == []


def test_weights_with_their_tokenizer(run: Path, tmp_path: Path) -> None:
    told = export(run, "safetensors", tmp_path / "made")
    assert {"tokenizer.json", "facts.json", "model.safetensors"} < set(told["files"])


def test_no_path_of_this_machine_is_in_the_folder(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    export(run, "sentence-transformers", tmp_path / "made")
    for path in (tmp_path / "made").rglob("*"):
        if path.is_file() and path.name != "README.md":  # the card names the base as it was given
            assert str(tmp_path.parent).encode() not in path.read_bytes(), path
            assert b"/tmp" not in path.read_bytes(), path
