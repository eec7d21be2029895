"""The form of requests and answers; numbers that are not finite are refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

LARGEST = 3.4e38
"""Beyond it lies no float32."""

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False, strict=True)]
Name = Annotated[str, Field(max_length=1000)]
Event = tuple[Number | None, Number, Name | Annotated[int, Field(strict=True)]]
Value = list[Number | None] | list[Name | None] | list[Event] | list[list[Number]] | str | None
"""Numbers, levels, events, token features, or a text (a level, a picture as base64)."""
Views = dict[Name, Value]
Row = Annotated[str, Field(max_length=1000)] | Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)]
Scalar = Name | Annotated[bool, Field(strict=True)] | Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)] | Number
Bounds = dict[Literal[">=", "<=", ">", "<"], Scalar]
Condition = Scalar | list[Scalar | None] | Bounds | None


class Form(BaseModel):
    """A request; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


Record = str | Views
"""A text, or what some views hold (null: missing); /about says what that is."""


class EmbeddingsRequest(Form):
    """What to embed, as an OpenAI client sends it."""

    input: Annotated[list[Record], Field(min_length=1)] | Record = Field(
        description="A text or several, or for a run on tables objects such as {view: [numbers]} (null: missing)."
    )
    model: Name | None = Field(None, description="The run's name, as /v1/models gives it.")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32.")
    dimensions: int | None = Field(None, description="The width of the run's vectors; no other is offered.")
    user: Name | None = Field(None, description="Ignored.")

    @property
    def records(self) -> list[Record]:
        """The records asked for, in a list."""
        return self.input if isinstance(self.input, list) else [self.input]


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens read; 0 where a run reads none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the records."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
    truncated: list[int] = Field([], description="Numbers of the inputs that are longer than the model reads.")


class Model(BaseModel):
    """A run, as an OpenAI client lists models."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["counterpoint"] = "counterpoint"


class Models(BaseModel):
    """The one run that is served."""

    object: Literal["list"] = "list"
    data: list[Model]


class Asked(Form):
    """What to look for: exactly one of a record, an indexed row's id, or a vector."""

    input: Record | None = Field(None, description="A text, or the numbers of some views.")
    id: Row | None = Field(None, description="A row of the index.")
    vector: list[Number] | None = Field(None, description="A vector made before.", min_length=1, max_length=65_536)


class SearchRequest(Asked):
    """What to look for, how many, and among which rows."""

    k: Annotated[int, Field(ge=1, le=1000, strict=True)] = 10
    where: dict[Name, Condition] = Field(
        {}, description='Conditions on metadata: {"site": "oslo"}, {"site": ["oslo", "bergen"]}, {"age": {">=": 40}}.'
    )


class WhyRequest(Asked):
    """The query and one of the rows found for it."""

    hit: Row = Field(description="The id of a row that was found.")
    k: Annotated[int, Field(ge=1, le=20, strict=True)] = 3


class Hit(BaseModel):
    """A row that was found; `at` is its place on the map."""

    rank: int
    id: Any
    score: float
    metadata: dict[str, JsonValue]
    at: tuple[float, float]


class Query(BaseModel):
    """The query's own id and metadata when it is a row of the index, and its place on the map."""

    id: Any = None
    metadata: dict[str, JsonValue] = {}
    at: tuple[float, float]
    truncated: bool = Field(
        False, description="The text asked with is longer than the model reads; its end was left out."
    )


class SearchAnswer(BaseModel):
    """The rows nearest to the query, best first; the query's own row is left out."""

    query: Query
    hits: list[Hit]


class Pair(BaseModel):
    """Two views of one training row, one like the query, the other like the row found (cosine similarities)."""

    id: Any
    query_view: str
    query_similarity: float
    hit_view: str
    hit_similarity: float
    metadata: dict[str, JsonValue]


class WhyAnswer(BaseModel):
    """The training pairs that lie nearest to the query and the row found."""

    pairs: list[Pair]


class MapAnswer(BaseModel):
    """Rows of the index, evenly drawn, on its two main axes; `values` are those of the column asked for."""

    ids: list[Any]
    x: list[float]
    y: list[float]
    values: list[JsonValue] | None


class PredictRequest(Form):
    """What to classify."""

    input: Annotated[list[Record], Field(min_length=1)] | Record

    @property
    def records(self) -> list[Record]:
        """The records asked for, in a list."""
        return self.input if isinstance(self.input, list) else [self.input]


class PredictAnswer(BaseModel):
    """What the method says of each record."""

    data: list[dict[str, JsonValue]]


class Took(Form):
    """An event of a history."""

    item: Row
    behaviour: Name


class RecommendRequest(Form):
    """For whom (a known user, or a history, oldest first), how many, and what may be listed."""

    user: Row | None = None
    history: Annotated[list[Row | Took], Field(max_length=10_000)] | None = None
    k: Annotated[int, Field(ge=1, le=1000, strict=True)] = 10
    exclude_seen: Annotated[bool, Field(strict=True)] = True
    where: dict[Name, Name | list[Name]] = Field({}, description="Attributes that items must have.")
    allow: list[Row] | None = Field(None, description="The only items that may be listed.")
    diversity: Annotated[Number, Field(ge=0, le=1)] = Field(0.0, description="0: none, 1: as unlike as can be.")
    popularity: Annotated[Number, Field(ge=-100, le=100)] = Field(0.0, description="What popular items lose by.")
    reasons: Annotated[int, Field(ge=0, le=100, strict=True)] = Field(0, description="Items of the history as reasons.")


class RecommendAnswer(BaseModel):
    """What the user may want next, best first."""

    hits: list[dict[str, JsonValue]]


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["ok"] = "ok"
    version: str


class About(BaseModel):
    """What is served: the run, what its records are, and what can be asked."""

    run: str
    method: str
    text: bool
    views: dict[str, int | str | None]
    can: list[str]
    index: dict[str, JsonValue] | None


class Error(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str | None


class Problem(BaseModel):
    """How a problem is told."""

    error: Error
