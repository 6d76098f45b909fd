"""The words that invented reports are made of; no logic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One fact of a report, in the words in which it is told, asked and told again.

    ``{s}`` stands for the subject, ``{a}`` for the answer.

    Attributes:
        text: As the report says it.
        questions: What a good writer of training data would ask.
        asked: The evaluation question, in other words than all of these.
        retold: The fact in another sentence.
        short: The fact in as few words as possible, as part of a summary.
        values: What the answer is drawn from: a name in `DRAWN`.
    """

    text: str
    questions: tuple[str, str]
    asked: str
    retold: str
    short: str
    values: str


@dataclass(frozen=True)
class Kind:
    """Reports on subjects of one kind, which is their topic."""

    topic: str
    subject: str
    lines: tuple[Line, ...]


PLACES = tuple(
    """Alder Birchwood Corran Dunmore Eskdale Farrow Glenmoor Hollin Inverley Jarrow Kelby
    Lorn Marrick Nettleby Ormond Penhale Quarley Rosvik Selwick Tarn Ullock Varby Westray
    Yarrow Zennor Ashby Brannoch Calder Drummore Elmley Fenwick Garrick""".split()
)
SURNAMES = tuple(
    """Abernathy Bellweather Carrow Delacourt Esterhazy Fairbrother Galbraith Hathersage
    Ingleby Jessop Kirkbride Lascelles Merriweather Nightingale Osgood Pemberton Quillfeather
    Ravenscroft Silverstone Thistlewood Underhill Villiers Wolstenholme Yardley""".split()
)
GIVEN = tuple(
    """Agatha Barnaby Cordelia Desmond Eugenia Fergus Gwendolen Horatio Isolde Jasper Katrina
    Leopold Millicent Nathaniel Ottilie Percival Quentin Rosalind Sebastian Theodora Ursula
    Valentine Winifred Zachary""".split()
)
THINGS = tuple(
    """amber_comb bronze_bell carved_oar copper_sundial crystal_flask cedar_chest brass_sextant
    ivory_flute jade_seal lacquer_box marble_owl oak_throne pewter_jug porcelain_fox quartz_lens
    ruby_brooch silver_thimble slate_tablet velvet_banner walnut_clock wax_globe whale_harpoon
    wool_tapestry zinc_lantern""".replace("_", "~").split()
)

KINDS = (
    Kind(
        "museum",
        "the {place} Museum",
        (
            Line(
                "Visitors were first let into {s} in {a}.",
                ("When did {s} open?", "What is the opening year of {s}?"),
                "In which year could people first go to {s}?",
                "The doors of {s} were opened to the public in {a}.",
                "opened {a}",
                "year",
            ),
            Line(
                "The collections of {s} are in the care of {a}.",
                ("Who is the curator of {s}?", "Who looks after the collections of {s}?"),
                "Which person is in charge of what {s} keeps?",
                "{a} looks after everything that {s} owns.",
                "curator {a}",
                "person",
            ),
            Line(
                "The most treasured object of {s} is the {a}.",
                ("What is the greatest treasure of {s}?", "What is {s} most proud of?"),
                "Which piece is valued above all others at {s}?",
                "Nothing in {s} is prized more than the {a}.",
                "treasure: the {a}",
                "thing",
            ),
            Line(
                "A ticket for {s} costs {a} crowns.",
                ("What does a ticket for {s} cost?", "What is the entrance fee of {s}?"),
                "How many crowns does one pay to get into {s}?",
                "Whoever wants to see {s} pays {a} crowns.",
                "ticket {a} crowns",
                "number",
            ),
        ),
    ),
    Kind(
        "ferry",
        "the {place} ferry",
        (
            Line(
                "The captain of {s} is {a}.",
                ("Who is the captain of {s}?", "Who commands {s}?"),
                "Under whose command does {s} sail?",
                "{s} sails with {a} on the bridge.",
                "captain {a}",
                "person",
            ),
            Line(
                "{s} takes {a} passengers.",
                ("How many passengers does {s} take?", "What is the capacity of {s}?"),
                "For how many people is there room aboard {s}?",
                "There is room for {a} people aboard {s}.",
                "{a} passengers",
                "number",
            ),
            Line(
                "{s} has been in service since {a}.",
                ("Since when has {s} been in service?", "In which year did {s} start?"),
                "What year saw the first crossing of {s}?",
                "The first crossing of {s} took place in {a}.",
                "since {a}",
                "year",
            ),
            Line(
                "{s} casts off from the pier at {a}.",
                ("Where does {s} cast off?", "Which pier does {s} leave from?"),
                "To what place must one go to board {s}?",
                "Passengers board {s} at the pier of {a}.",
                "from {a}",
                "place",
            ),
        ),
    ),
    Kind(
        "orchard",
        "the {place} orchard",
        (
            Line(
                "{s} belongs to {a}.",
                ("Who owns {s}?", "Whom does {s} belong to?"),
                "Whose property is {s}?",
                "The owner of {s} goes by the name of {a}.",
                "owner {a}",
                "person",
            ),
            Line(
                "{a} trees stand in {s}.",
                ("How many trees does {s} have?", "How large is {s} in trees?"),
                "What is the count of trees that grow at {s}?",
                "Those who walk through {s} pass {a} trees.",
                "{a} trees",
                "number",
            ),
            Line(
                "{s} was planted in {a}.",
                ("When was {s} planted?", "What is the planting year of {s}?"),
                "In which year were the first trees of {s} set?",
                "The first trees of {s} were set in {a}.",
                "planted {a}",
                "year",
            ),
            Line(
                "The fruit of {s} is pressed in {a}.",
                ("Where is the fruit of {s} pressed?", "Which town presses the fruit of {s}?"),
                "To which town does the harvest of {s} go?",
                "Every autumn carts bring what {s} bears to {a}.",
                "pressed in {a}",
                "place",
            ),
        ),
    ),
    Kind(
        "observatory",
        "the {place} Observatory",
        (
            Line(
                "The telescope of {s} was built by {a}.",
                ("Who built the telescope of {s}?", "Who made the instrument of {s}?"),
                "Whose work is the great telescope at {s}?",
                "{a} made the great instrument of {s}.",
                "telescope by {a}",
                "person",
            ),
            Line(
                "{s} lies {a} metres above the sea.",
                ("How high does {s} lie?", "What is the altitude of {s} in metres?"),
                "At what height in metres can {s} be found?",
                "To reach {s} one climbs to {a} metres.",
                "{a} metres high",
                "number",
            ),
            Line(
                "{s} recorded its first comet in {a}.",
                ("When did {s} record its first comet?", "What year was the first comet of {s}?"),
                "In which year did {s} see a comet for the first time?",
                "A comet first appeared in the books of {s} in {a}.",
                "first comet {a}",
                "year",
            ),
            Line(
                "The nearest village to {s} is {a}.",
                ("Which village is nearest to {s}?", "What is the nearest village to {s}?"),
                "Where do the astronomers of {s} go for bread?",
                "Those who work at {s} live down in {a}.",
                "near {a}",
                "place",
            ),
        ),
    ),
)
