"""What pydantic finds wrong, in plain words."""

from typing import Annotated, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from memkit.server.complaints import complaint


class Part(BaseModel):
    kind: Literal["text"]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = "x"
    either: str | Annotated[list[Part], Field(min_length=1)] = "x"
    count: int = Field(1, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    flag: bool = False
    off: Literal[False] = False
    items: list[int] = Field(default_factory=list, max_length=2)
    nothing: list[int] = Field(default_factory=list, max_length=0)
    several: list[int] = Field(default_factory=lambda: [1, 2], min_length=2)
    name: str = Field("ann", min_length=3)
    at: AwareDatetime | None = None
    more: dict[str, int] = Field(default_factory=dict)
    part: Part | None = None


@pytest.mark.parametrize(
    ("given", "place", "what"),
    [
        ({"text": 5}, "text", "expected a text"),
        ({"either": None}, "either", "expected a text or a list"),
        ({"either": []}, "either", "expected at least one item"),
        ({"either": [{"kind": "image"}]}, "either.0.kind", "expected 'text'"),
        ({"either": [{}]}, "either.0.kind", "it is missing"),
        ({"count": "x"}, "count", "expected a whole number"),
        ({"count": 1.5}, "count", "expected a whole number"),
        ({"count": 0}, "count", "expected 1 or more"),
        ({"count": 10}, "count", "expected 9 or less"),
        ({"share": 0}, "share", "expected more than 0"),
        ({"share": 1}, "share", "expected less than 1"),
        ({"share": float("nan")}, "share", "expected a finite number"),
        ({"flag": "maybe"}, "flag", "expected true or false"),
        ({"off": True}, "off", "expected false"),
        ({"items": [1, 2, 3]}, "items", "expected at most 2 items"),
        ({"items": [1, "x"]}, "items.1", "expected a whole number"),
        ({"nothing": [1]}, "nothing", "this is not supported, leave it out"),
        ({"several": [1]}, "several", "expected at least 2 items"),
        ({"name": "a"}, "name", "expected at least 3 characters"),
        ({"at": "soon"}, "at", "expected a time such as 2026-07-28T14:30:00+02:00"),
        ({"at": "2026-01-01T00:00:00"}, "at",
         "expected a time with its zone, such as 2026-07-28T14:30:00+02:00"),
        ({"more": 5}, "more", "expected an object"),
        ({"part": 5}, "part", "expected an object"),
        ({"other": 5}, "other", "there is no such parameter"),
        (5, "", "expected an object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_plain_words(given, place, what):
    with pytest.raises(ValidationError) as raised:
        Request.model_validate(given)
    assert complaint(raised.value.errors()) == (place, what)


def test_what_has_no_words_of_its_own_keeps_those_it_came_with():
    class Odd(BaseModel):
        even: Annotated[int, Field(multiple_of=2)]

    with pytest.raises(ValidationError) as raised:
        Odd.model_validate({"even": 3})
    assert complaint(raised.value.errors()) == ("even", "Input should be a multiple of 2")
