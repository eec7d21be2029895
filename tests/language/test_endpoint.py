"""The client against a real server with faults injected; the cache and the accounts."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from counterpoint.errors import UserError
from counterpoint.language import Accounts, Ask, Cache, Failure, Prompt, Reply, fenced, open_model, perplexity
from counterpoint.language.endpoint import Endpoint
from language.server import Script, endpoint, said


class Silent:
    """A model that is never asked."""

    name = "silent"

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        raise AssertionError


def asked_of(script: Script, *asked: Ask, **options: Any) -> tuple[list[Reply | Failure], list[float]]:
    waits: list[float] = []
    with endpoint(script) as address:
        model = Endpoint("m", address, wait=waits.append, **options)
        found = model.answer(asked)
        model.client.close()
    return found, waits


def test_an_answer_with_its_cost_and_what_was_asked() -> None:
    script = Script()
    ask = Ask.of("hello", system="be brief", temperature=0.7, top_p=0.9, top_k=50, max_tokens=9, seed=3, stop=("x",))
    (reply,), _ = asked_of(script, ask)
    assert reply == Reply("HELLO", (-0.5, -0.25), 7, 2, "stop")
    assert perplexity(reply) == pytest.approx(2.718281828**0.375)
    wanted = {"model": "m", "temperature": 0.7, "top_p": 0.9, "top_k": 50, "max_tokens": 9, "seed": 3, "stop": ["x"]}
    assert {name: script.bodies[0][name] for name in wanted} == wanted
    assert [turn["role"] for turn in script.bodies[0]["messages"]] == ["system", "user"]


@pytest.mark.parametrize("fault", [429, 500, 503, "cut", "slow", {"choices": []}, said(None), {"odd": 1}])
def test_what_may_pass_is_tried_again(fault: Any) -> None:
    script = Script([fault])
    (reply,), waits = asked_of(script, Ask.of("a"), timeout=0.4)
    assert isinstance(reply, Reply)
    assert reply.text == "A"
    assert len(waits) == 1
    assert waits[0] >= 3 if fault == 429 else 0.5 <= waits[0] <= 0.55


def test_attempts_end_and_the_others_are_answered() -> None:
    script = Script([500] * 3)
    found, waits = asked_of(script, Ask.of("a"), Ask.of("b"), attempts=3, concurrency=1)
    assert isinstance(found[0], Failure)
    assert "3 attempts" in found[0].why
    assert "fault 500" in found[0].why
    assert isinstance(found[1], Reply)
    assert len(waits) == 2


@pytest.mark.parametrize(("fault", "says"), [(401, "OPENAI_API_KEY"), (404, "refuses"), (400, "fault 400")])
def test_what_no_attempt_mends_is_an_error(fault: int, says: str) -> None:
    script = Script([fault])
    with pytest.raises(UserError, match=says):
        asked_of(script, Ask.of("a"))
    assert len(script.bodies) == 1


def test_an_endpoint_that_is_not_there_fails_in_words() -> None:
    model = Endpoint("m", "http://127.0.0.1:9/v1", attempts=2, wait=lambda seconds: None)
    (found,) = model.answer([Ask.of("a")])
    assert isinstance(found, Failure)
    assert "2 attempts" in found.why
    model.client.close()


def test_missing_logprobs_are_none_and_count_as_infinite() -> None:
    (reply,), _ = asked_of(Script([said("x", None)]), Ask.of("a"))
    assert isinstance(reply, Reply)
    assert reply.logprobs is None
    assert perplexity(reply) == float("inf")


def test_calls_run_at_once_up_to_the_limit() -> None:
    script = Script(delay=0.05)
    found, _ = asked_of(script, *(Ask.of(f"q{n}") for n in range(12)), concurrency=4)
    assert [reply.text for reply in found if isinstance(reply, Reply)] == [f"Q{n}" for n in range(12)]
    assert 2 <= script.busiest <= 4


def test_the_key_comes_from_the_environment_and_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = Script()
    with endpoint(script) as address:
        model, accounts = open_model(f"{address}#m", tmp_path / "cache.sqlite")
        assert isinstance(model, Cache)
        model.answer([Ask.of("a")])
        model.close()
    assert script.keys == ["Bearer sk-secret"]
    assert accounts.calls == 1
    assert all(b"sk-secret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_repeated_run_asks_nothing(tmp_path: Path) -> None:
    script, asked = Script([500, 500]), [Ask.of(f"q{n}", seed=n) for n in range(5)]
    with endpoint(script) as address:
        for again in range(2):
            inner = Endpoint("m", address, attempts=1, concurrency=1)
            model = Cache(Accounts(inner), tmp_path / "cache.sqlite")
            found = model.answer(asked)
            model.close()
            inner.client.close()
            failed = [isinstance(one, Failure) for one in found]
            assert failed == ([True, True, False, False, False] if not again else [False] * 5)
        assert (model.hits, model.misses) == (3, 2)
        third = Cache(Endpoint("m", address), tmp_path / "cache.sqlite")
        assert third.answer(asked) == found
        assert (third.hits, third.misses) == (5, 0)
        third.close()
    assert len(script.bodies) == 7


def test_another_sampling_is_another_question(tmp_path: Path) -> None:
    assert len({Ask.of("a", seed=n, temperature=t).key("m") for n in (0, 1) for t in (0.0, 0.7)}) == 4
    assert Ask.of("a").key("m") != Ask.of("a").key("n")


def test_a_foreign_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text("not a database, but long enough to be looked at " * 9)
    with pytest.raises(UserError, match="not a cache of answers"):
        Cache(Silent(), tmp_path / "x.sqlite")
    other = sqlite3.connect(tmp_path / "y.sqlite")
    other.execute("CREATE TABLE replies (a)")
    other.close()
    with pytest.raises(UserError, match="not a cache of answers"):
        Cache(Silent(), tmp_path / "y.sqlite")


def test_prompts_take_their_places_and_nothing_else() -> None:
    prompt = Prompt("p.v1", "$question and $rules")
    assert prompt.filled(question="$rules", rules="r") == "$rules and r"
    with pytest.raises(UserError, match=r"takes \['question', 'rules'\]"):
        prompt.filled(question="q")
    assert fenced("a >>> b").count(">>>") == 1


def test_an_address_without_a_model() -> None:
    with pytest.raises(UserError, match="#MODEL"):
        open_model("http://localhost:8000/v1")
