"""Requests made up from the OpenAPI document: whatever is asked, the server does not fail and answers as it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

schemathesis = pytest.importorskip("schemathesis")

from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from counterpoint.serving.served import Served  # noqa: E402
from serving.served_run import running  # noqa: E402

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 20
ASKED = ("/v1/embeddings", "/search", "/why", "/predict", "/recommend")
TOLD = ("/health", "/metrics", "/about", "/v1/models", "/map")
CASES = [(path, mode) for path in ASKED for mode in GenerationMode] + [(path, GenerationMode.POSITIVE) for path in TOLD]


@pytest.fixture(scope="module")
def described(run: Path, index: Path) -> Iterator[Any]:
    with running(Served.open(run, index), rate=0.0) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_no_request_makes_the_server_fail(described: Any, path: str, mode: Any) -> None:
    operation = next(iter(described[path].values()))
    quick = settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @quick
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()


def test_everything_described_is_asked(described: Any) -> None:
    assert {*ASKED, *TOLD} == set(described)
