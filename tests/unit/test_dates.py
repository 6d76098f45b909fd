"""Days that questions name; what they are was looked up in a calendar."""

import calendar
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.text.dates import FADES, Days, Yearly, named_days, periods
from memkit.types import ALWAYS, Period

TODAY = date(2024, 5, 16)  # a Thursday


def span(first, last=None):
    return [Days(date.fromisoformat(first), date.fromisoformat(last or first))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who called on 3 May 2023?", span("2023-05-03")),
        ("Who called on the 3rd of May, 2023?", span("2023-05-03")),
        ("Who called on May 3rd, 2023?", span("2023-05-03")),
        ("who called on may 3 2023?", span("2023-05-03")),
        ("Who called on 2023-05-03?", span("2023-05-03")),
        ("December 1,2023", span("2023-12-01")),
        ("Sept. 21st, 2022", span("2022-09-21")),
        ("In May 2023, who called?", span("2023-05-01", "2023-05-31")),
        ("February of 2024", span("2024-02-01", "2024-02-29")),
        ("What happened in 2023?", span("2023-01-01", "2023-12-31")),
        ("Who called on May 3?", [Yearly(5, 3)]),
        ("Who called in June?", [Yearly(6, None)]),
        ("Early June?", [Yearly(6, None)]),
        ("between May 3 and 5 June 2023", [*span("2023-06-05"), Yearly(5, 3)]),
        ("Who called today?", span("2024-05-16")),
        ("Who called yesterday?", span("2024-05-15")),
        ("Who called last night?", span("2024-05-15")),
        ("Who called this week?", span("2024-05-13", "2024-05-19")),
        ("Who called last week?", span("2024-05-06", "2024-05-12")),
        ("Who called last month?", span("2024-04-01", "2024-04-30")),
        ("Who called Last Year?", span("2023-01-01", "2023-12-31")),
        ("Who called last Monday?", span("2024-05-13")),
        ("Who called last Thursday?", span("2024-05-09")),
        ("Who called three days ago?", span("2024-05-13")),
        ("Who called a week ago?", span("2024-05-06", "2024-05-12")),
        ("Who called 5 months ago?", span("2023-12-01", "2023-12-31")),
        # Told from the date, not from today.
        ("Who called last Friday, before 3 May 2023?", span("2023-05-03")),
        # No days.
        ("May I come in?", []),
        ("Does April march with June?", []),
        ("Is room 2023 free?", []),
        ("Who called on 31 June 2023?", []),
        ("Where did I park 900 years ago, or 9999-12-31?", span("1124-01-01", "1124-12-31")),
        ("Who called?", []),
        ("", []),
    ],
)
def test_the_days_that_a_question_names(text, expected):
    assert named_days(text, TODAY) == expected


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
def test_a_date_is_read_however_it_is_written(day):
    name, short = calendar.month_name[day.month], calendar.month_abbr[day.month]
    for text in (
        day.isoformat(),
        f"{day.day} {name} {day.year}",
        f"{name} {day.day}, {day.year}",
        f"{day.day} {short} {day.year}",
        f"the {day.day}th of {name}, {day.year}",
    ):
        assert named_days(f"What did Ann say on {text} to Bob?", TODAY) == [Days(day, day)]


@given(st.text())
def test_any_text_can_be_read(text):
    assert len(named_days(text, TODAY)) <= 8


def test_how_far_a_day_is_away():
    (may,) = span("2023-05-01", "2023-05-31")
    days = ["2023-04-29", "2023-05-01", "2023-05-31", "2023-06-01"]
    assert [may.gap(date.fromisoformat(day)) for day in days] == [-2, 0, 0, 1]
    new_year = Yearly(1, 1)
    assert [new_year.gap(date(2023, *day)) for day in ((12, 30), (1, 1), (1, 5))] == [-2, 0, 4]
    assert Yearly(2, 29).gap(date(2024, 3, 1)) == 1
    assert Yearly(2, 29).gap(date(2023, 3, 1)) == -365  # 2024 has one, 2022 and 2023 have none
    assert Yearly(2, 30).gap(date(2024, 3, 1)) > 1000  # there is none
    assert Yearly(2, 29).gap(date(1, 1, 1)) > 1000
    assert Yearly(1, 1).gap(date(1, 1, 2)) == 1


def test_where_else_to_look():
    def looked(text, within=ALWAYS):
        return list(periods(named_days(text, TODAY), TODAY, within))

    def at(*day):
        return datetime(*day, tzinfo=UTC)

    assert FADES == 7
    assert looked("3 May 2023") == [Period(at(2023, 5, 3), at(2023, 5, 10))]
    assert looked("on May 3") == [Period(at(2024, 5, 3), at(2024, 5, 10))]
    assert looked("in June") == [Period(at(2023, 6, 1), at(2023, 7, 7))]  # that of 2024 is to come
    assert looked("on 29 February") == [Period(at(2024, 2, 29), at(2024, 3, 7))]
    assert looked("in 2023") == []
    within = Period(at(2023, 5, 4), at(2023, 5, 6), at(2024, 1, 1))
    assert looked("3 May 2023", within) == [within]
    assert looked("3 June 2023", within) == []
