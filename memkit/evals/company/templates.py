"""How the invented company's facts and handbook paragraphs are worded; no logic.

In a fact, ``{subject}`` is who or what it is about and ``{answer}`` what one may ask for;
``{department}`` and ``{company}`` only give colour. ``{goods}`` is what a supplier delivers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Subject = Literal["person", "department", "meeting room", "supplier", "equipment", "round"]


@dataclass(frozen=True)
class FactTemplate:
    """The wordings of one kind of fact."""

    kind: str
    about: Subject
    text: str
    question: str
    paraphrases: tuple[str, str, str]


@dataclass(frozen=True)
class ParagraphTemplate:
    """A handbook paragraph; each name in braces, other than the company, is a drawn answer.

    Attributes:
        title: Heading in the handbook.
        text: Three to five sentences.
        pairs: Questions with the names of their answers.
        answers: Name of an answer to the values it is drawn from.
    """

    title: str
    text: str
    pairs: tuple[tuple[str, str], ...]
    answers: dict[str, tuple[str, ...]]


FACTS = (
    FactTemplate(
        kind="extension",
        about="person",
        text="{subject} in {department} can be reached at extension {answer}.",
        question="What is the extension of {subject}?",
        paraphrases=(
            "Which extension reaches {subject}?",
            "I need to phone {subject}. What extension?",
            "Please give me the internal phone number of {subject}.",
        ),
    ),
    FactTemplate(
        kind="badge",
        about="person",
        text="{subject} from {department} carries badge number {answer}.",
        question="What is the badge number of {subject}?",
        paraphrases=(
            "Which badge does {subject} carry?",
            "What number is printed on the badge of {subject}?",
            "I am looking for the badge of {subject}. Which number is on it?",
        ),
    ),
    FactTemplate(
        kind="meeting room",
        about="meeting room",
        text="The meeting room {subject} is on {answer}.",
        question="Where is the meeting room {subject}?",
        paraphrases=(
            "On which floor and in which wing do I find the meeting room {subject}?",
            "I have an appointment in {subject}. Where is that meeting room?",
            "How do I get to the room called {subject}?",
        ),
    ),
    FactTemplate(
        kind="desk",
        about="person",
        text="{subject} works in {department} and sits at desk {answer}.",
        question="At which desk does {subject} sit?",
        paraphrases=(
            "What is the desk of {subject}?",
            "I have a parcel for {subject}. To which desk should I bring it?",
            "Where is {subject} seated?",
        ),
    ),
    FactTemplate(
        kind="supplier phone",
        about="supplier",
        text="{subject}, who supply {company} with {goods}, answer the phone at {answer}.",
        question="What is the phone number of {subject}?",
        paraphrases=(
            "Which number do I dial for {subject}?",
            "I have to call {subject} about an order. What is their number?",
            "How can {subject} be reached by phone?",
        ),
    ),
    FactTemplate(
        kind="start",
        about="person",
        text="{subject} joined {company} in {answer} and works in {department}.",
        question="When did {subject} join {company}?",
        paraphrases=(
            "In which month and year did {subject} start at {company}?",
            "Since when has {subject} worked for {company}?",
            "What is the date of joining of {subject}?",
        ),
    ),
    FactTemplate(
        kind="department head",
        about="department",
        text="The head of {subject} is {answer}.",
        question="Who is the head of {subject}?",
        paraphrases=(
            "Who leads {subject}?",
            "Which person is in charge of the {subject} department?",
            "I have a complaint about {subject}. Who is the boss there?",
        ),
    ),
    FactTemplate(
        kind="stand-in",
        about="person",
        text="When {subject} is away, {answer} stands in and signs for {department}.",
        question="Who stands in when {subject} is away?",
        paraphrases=(
            "Who is the deputy of {subject}?",
            "{subject} is on holiday. Who can sign instead?",
            "Whom do I ask while {subject} is absent?",
        ),
    ),
    FactTemplate(
        kind="equipment",
        about="equipment",
        text="The {subject} is kept in {answer} and goes back there after use.",
        question="Where is the {subject} kept?",
        paraphrases=(
            "In which cabinet do I find the {subject}?",
            "I need the {subject}. Where is it?",
            "Where should I put the {subject} after use?",
        ),
    ),
    FactTemplate(
        kind="parking space",
        about="person",
        text="The parking space {answer} in the underground car park is reserved for {subject}.",
        question="Which parking space is reserved for {subject}?",
        paraphrases=(
            "Where may {subject} park?",
            "What is the number of the parking space of {subject}?",
            "In which space does {subject} leave the car?",
        ),
    ),
    FactTemplate(
        kind="cost centre",
        about="department",
        text="Orders for {subject} are booked to cost centre {answer}.",
        question="What is the cost centre of {subject}?",
        paraphrases=(
            "To which cost centre are orders for {subject} booked?",
            "I am ordering something for {subject}. Which cost centre do I enter?",
            "Which cost centre belongs to {subject}?",
        ),
    ),
    FactTemplate(
        kind="number plate",
        about="round",
        text="The van that drives the {subject} round has the number plate {answer}.",
        question="What is the number plate of the van on the {subject} round?",
        paraphrases=(
            "Which plate does the {subject} van have?",
            "I am looking for the van of the {subject} round. What is its registration?",
            "Which registration number belongs to the delivery van for {subject}?",
        ),
    ),
)


def _numbers(start: int, stop: int, unit: str) -> tuple[str, ...]:
    return tuple(f"{number} {unit}" for number in range(start, stop))


PARAGRAPHS = (
    ParagraphTemplate(
        title="Travel expenses",
        text="Business trips at {company} are booked by the travel desk, never by the traveller. "
        "Receipts must be handed in no later than {deadline} after the return. "
        "Meals are refunded up to {meals} a day. "
        "The train is the first choice wherever it takes less than five hours.",
        pairs=(
            ("How soon after a business trip must receipts be handed in?", "deadline"),
            ("Up to which amount are meals refunded per day on a business trip?", "meals"),
        ),
        answers={"deadline": _numbers(10, 46, "days"), "meals": _numbers(24, 71, "euros")},
    ),
    ParagraphTemplate(
        title="Visitors",
        text="Every visitor of {company} signs the book at the reception and gets a {colour} "
        "badge. "
        "Visitors are collected by their host and are never left alone in the workshops. "
        "The badge is returned on leaving.",
        pairs=(("What colour is a visitor's badge?", "colour"),),
        answers={"colour": ("orange", "purple", "turquoise", "yellow", "crimson", "silver")},
    ),
    ParagraphTemplate(
        title="Working hours",
        text="Working hours at {company} are flexible, and everybody records their own. "
        "Everybody is present during the core time, which begins at {core}. "
        "Overtime is agreed with the head of the department beforehand. "
        "Up to {overtime} of overtime may be carried into the next year.",
        pairs=(
            ("At what time does the core time begin?", "core"),
            ("How much overtime may be carried into the next year?", "overtime"),
        ),
        answers={
            "core": tuple(f"{hour}:{minute}" for hour in (8, 9, 10) for minute in (10, 20, 40, 50)),
            "overtime": _numbers(12, 61, "hours"),
        },
    ),
    ParagraphTemplate(
        title="Fire alarm",
        text="A fire drill takes place twice a year, without notice. "
        "When the alarm sounds, everybody leaves the building by the nearest stairs. "
        "The lifts must not be used. "
        "The assembly point of {company} is the {place}. "
        "The fire wardens of each floor count those present.",
        pairs=(("Where is the assembly point after a fire alarm?", "place"),),
        answers={
            "place": (
                "bicycle shed",
                "tennis court",
                "old weighbridge",
                "chestnut avenue",
                "upper car park",
                "gatehouse lawn",
            )
        },
    ),
    ParagraphTemplate(
        title="Working from home",
        text="Anyone at {company} whose work allows it may work from home for {share} a month. "
        "The days are agreed within the team and entered in the shared calendar. "
        "Confidential papers stay in the office. "
        "For questions about equipment at home, the help desk answers until {closing}.",
        pairs=(
            ("How many days a month may one work from home?", "share"),
            ("Until when does the help desk answer questions?", "closing"),
        ),
        answers={
            "share": tuple(
                f"{count} days" for count in ("six", "seven", "eight", "nine", "eleven")
            ),
            "closing": tuple(
                f"{hour}:{minute}" for hour in (17, 18, 19) for minute in (15, 30, 45)
            ),
        },
    ),
)
