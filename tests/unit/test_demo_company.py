"""The invented company: deterministic, unambiguous, and worded like a directory."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.evals.company.company import MAX_FACTS, Company

companies = st.builds(Company.generate, seed=st.integers(), facts=st.integers(1, 200))
few = settings(max_examples=30, deadline=None)


@few
@given(seed=st.integers(), facts=st.integers(1, 200))
def test_the_seed_and_the_size_decide_everything(seed, facts):
    company = Company.generate(seed, facts)

    assert company == Company.generate(seed, facts)
    assert len(company.facts) == facts


@few
@given(company=companies)
def test_all_questions_are_distinct(company):
    asked = [question for fact in company.facts for question in (fact.question, *fact.paraphrases)]
    asked += [pair.question for paragraph in company.paragraphs for pair in paragraph.pairs]
    asked += company.unrelated

    assert [question for question, times in Counter(asked).items() if times > 1] == []
    assert all(len(fact.paraphrases) == 3 for fact in company.facts)


@few
@given(company=companies)
def test_an_answer_stands_once_in_its_text_and_in_no_other(company):
    texts = [fact.text for fact in company.facts]
    for fact in company.facts:
        assert fact.text.count(fact.answer) == 1
        assert sum(fact.answer in text for text in texts) == 1
        assert fact.answer not in fact.question
        assert 1 <= len(fact.answer.split()) <= 5


@few
@given(company=companies)
def test_no_answer_is_part_of_another(company):
    answers = [fact.answer for fact in company.facts]
    answers += [pair.answer for paragraph in company.paragraphs for pair in paragraph.pairs]

    assert sum(inner in outer for outer in answers for inner in answers) == len(answers)


@few
@given(company=companies)
def test_the_handbook_answers_its_questions(company):
    assert 4 <= len(company.paragraphs) <= 6
    for paragraph in company.paragraphs:
        assert 3 <= len(re.findall(r"[.](?= |$)", paragraph.text)) <= 5
        assert 1 <= len(paragraph.pairs) <= 2
        for pair in paragraph.pairs:
            assert paragraph.text.count(pair.answer) == 1


@few
@given(company=companies)
def test_nothing_is_left_unfilled(company):
    for fact in company.facts:
        for sentence in (fact.text, fact.question, *fact.paraphrases):
            assert "{" not in sentence
            assert "  " not in sentence
            assert sentence[-1] in ".?"
            assert fact.metadata["subject"] in sentence
    assert not any("{" in paragraph.text for paragraph in company.paragraphs)


def test_a_dozen_facts_show_every_kind():
    company = Company.generate(1, 12)

    assert len({fact.metadata["kind"] for fact in company.facts}) == 12


def test_kinds_whose_subjects_are_used_up_leave_their_turn_to_others():
    company = Company.generate(1, MAX_FACTS)

    assert len({fact.question for fact in company.facts}) == MAX_FACTS


def test_seeds_give_different_companies():
    assert Company.generate(1, 12).facts != Company.generate(-1, 12).facts


def test_there_are_unrelated_prompts():
    unrelated = Company.generate(1, 1).unrelated

    assert len(set(unrelated)) == len(unrelated) >= 10


@pytest.mark.parametrize("facts", [0, -3, MAX_FACTS + 1])
def test_a_size_out_of_range_is_refused(facts):
    with pytest.raises(InvalidInputError, match=rf"`facts` must be from 1 to 2000, not {facts}"):
        Company.generate(1, facts)
