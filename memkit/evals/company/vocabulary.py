"""The words that the invented company is made of; no logic."""

from __future__ import annotations


def _listed(text: str, separator: str = ", ") -> tuple[str, ...]:
    """What stands between separators in a text of several lines."""
    return tuple(" ".join(text.split()).split(separator))


FIRST_NAMES = tuple(
    """Nora Tomas Ines Wilhelm Amina Jonas Petra Rafael Sunniva Dmitri Leila Oskar Beatriz Henrik
    Yuki Matteo Freya Samir Carla Anders Noor Felix Ingrid Paolo Mirela Gustav Zofia Elias Thea
    Kwame Vera Lorenz Aisha Bruno Selma Viktor Odile Marek Linnea Hassan Greta Cesar Runa Nikolai
    Esther Magnus Talia Ivo""".split()
)

LAST_NAMES = tuple(
    """Feldt Okafor Brandt Lindqvist Moreau Castell Varga Haddad Nygaard Petrov Rossetti Kimura
    Thorne Alvarez Bergmann Dupont Eriksen Fontana Grabowski Holm Ishikawa Jansen Kessler Laurent
    Mbeki Novak Oliveira Palmgren Quist Reinholt Sandoval Takeda Ulrich Vestergaard Weiss Yilmaz
    Zanetti Arvidson Bellini Corvino Drexler Engel Farkas Gallo Hansson Iversen Jokinen Kovacs
    Lorentz Marchetti Nilsen Ortega Pohl Ravn Steiner Toivonen Urban Vidal Winther Zeman Aalto
    Brekke Conti Duarte""".split()
)

COMPANY_STEMS = _listed("Varnholt, Ostermark, Kellbrook, Tavistad, Morrowby, Lindenau, Falkner")
COMPANY_TRADES = _listed("Instruments, Furniture, Lighting, Bicycles, Packaging, Ceramics")

DEPARTMENTS = _listed(
    """
    Logistics, Accounting, Purchasing, Quality Control, Human Resources, Marketing, Customer Care,
    Product Design, Maintenance, Assembly, Legal Affairs, Export Sales, Training, Research
    """
)

MEETING_ROOMS = _listed(
    """
    Kestrel, Heron, Juniper, Marigold, Basalt, Lantern, Compass, Otter, Saffron, Birch, Granite,
    Lagoon, Magnolia, Puffin, Cobalt, Harbour, Meadow, Falcon, Amber, Willow
    """
)

SUPPLIERS = (
    ("Hartwig and Sons", "cardboard boxes"),
    ("Blue Anchor Freight", "sea freight"),
    ("Solveig Paints", "varnish"),
    ("Mirador Glass", "window panes"),
    ("Pelican Office", "printer paper"),
    ("Dunmore Steel", "steel tubes"),
    ("Rosenfeld Catering", "canteen meals"),
    ("Quickline Couriers", "parcel delivery"),
    ("Tamarind Textiles", "upholstery cloth"),
    ("Norrland Timber", "plywood"),
    ("Brightwell Cleaning", "office cleaning"),
    ("Castor Bearings", "ball bearings"),
    ("Fennel and Rye", "visitors' lunches"),
    ("Ironbridge Tools", "drill bits"),
    ("Lumen Electrics", "light bulbs"),
    ("Gantry Lifts", "lift repairs"),
    ("Sable Security", "night guards"),
    ("Verdigris Metals", "copper sheet"),
    ("Whitcombe Labels", "shipping labels"),
    ("Zephyr Climate", "air conditioning"),
)

EQUIPMENT = _listed(
    """
    thermal camera, laser level, label printer, pallet scale, spare projector, first-aid kit, torque
    wrench, noise meter, document scanner, soldering station, moisture meter, heat gun, megaphone,
    cable tester, laminating machine, hand pallet truck, folding ladder, microscope, tablet for
    stocktaking, wet vacuum cleaner
    """
)

ROUNDS = _listed(
    """
    Northgate, Harbourside, Old Mill, Riverbend, Stonefield, Eastwick, Ferry Lane, Castle Hill,
    Brookside, Westmoor, Orchard Park, Quarry Road, Saltmarsh, Highfield, Canal Street, Beacon
    Point, Foxley, Lakeshore, Priory Green, Thornbury
    """
)

# Prompts that have nothing to do with any company: a memory should leave them alone.
UNRELATED = _listed(
    """
    What is 17 plus 25? / Hello! How are you today? / Write a Python function that reverses a
    string. / Translate 'good morning' into French. / What is the capital of Japan? / How can I fall
    asleep more easily? / Why is the sky blue? / Give me a synonym for 'happy'. / At what
    temperature does water boil? / Tell me a short joke. / What does the SQL keyword JOIN do? / How
    many days are there in a leap year? / Which planet is the largest in the solar system? / Suggest
    a simple recipe for pancakes.
    """,
    " / ",
)
