"""The words of a generated history: names, notes and reasons, varied enough for a search to mean something."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from mes.samples.copy_rows import Coded, IntArray, texts

NOTE_SHARE = 1 / 8
_NOTES = 20_000

# fmt: off
_FIRST = """
    Anna Ben Clara David Elena Felix Greta Hugo Ida Jan Karin Leo Maria Nils Olga Paul Rosa Simon Tina Victor
    Wanda Yusuf Zoe Adrian Bianca Carl Dora Emil Frida Gustav Helen Igor Julia Kasper Lena Max Nora Oskar
    Petra Ruth Sven
""".split()  # noqa: SIM905 - a hundred quotes less
_LAST = """
    Adler Bauer Costa Dvorak Eriksen Fischer Garcia Haas Ivanov Jansen Keller Larsen Moreau Novak Olsen Petit
    Quist Rossi Santos Thaler Ulrich Varga Weber Young Zimmer Berger Conti Duarte Fabre Graf Holm Jung Kraus
    Lind Meyer Nagel Orlov Pohl Ricci Schmid Toth Vogel Winter Ziegler
""".split()  # noqa: SIM905 - a hundred quotes less
_TRADES = """
    Jewelers Goldsmiths Atelier Diamonds Gems Schmuck Bijoux Gioielli Rings Design Boutique Trading
""".split()  # noqa: SIM905 - a hundred quotes less
_PLACES = """
    Vienna Porto Lyon Turin Bergen Graz Basel Ghent Malmo Krakow Zagreb Bologna Seville Leipzig Utrecht
""".split()  # noqa: SIM905 - a hundred quotes less
# fmt: on

_WISHES = (
    "engrave the date {} inside",
    "match the pendant of order {}",
    "keep the tree marks visible, customer of {} wants it raw",
    "stone {} comes with the customer",
    "ring size checked twice, it is {}",
    "polish the inner side by hand, see photo {}",
    "call before plating, extension {}",
    "gift box number {} with ribbon",
    "customer collects on day {}, no courier",
    "resize from {} if the wax allows",
    "hallmark {} on the clasp side",
    "weigh before and after, last time {} g were missing",
)
_WHO = ("", "asked by phone: ", "urgent: ", "by e-mail: ", "from the counter: ", "wedding: ", "anniversary: ")
_TAILS = (
    "",
    "; then pack separately",
    "; ask the caster first",
    "; no satin on the edges",
    "; photo wanted",
    "; as ever",
)

HOLD_REASONS = (
    "Stone has not arrived",
    "Customer is asked about the ring size",
    "Wall is too thin for casting, sales calls the customer",
    "Payment is not confirmed",
    "Engraving text is unclear",
    "Metal is out of stock",
)
UNPRICED_REASON = "The model needs a look before it can be priced"
REWORK_REASONS = ("Porosity in the casting", "Stone sits loose", "Scratched while polishing", "Wrong engraving")
CANCEL_REASONS = ("Customer changed the mind", "Ordered twice", "Too expensive", "Promised date is too late")


def draw_notes(rng: np.random.Generator, orders: int) -> IntArray:
    """Which note each order has: about one in eight, of some twenty thousand different ones; 0 for none."""
    codes = 1 + rng.integers(0, _NOTES, orders)
    return np.where(rng.random(orders) < NOTE_SHARE, codes, 0)


def notes(drawn: IntArray) -> Coded:
    """The notes; null for none."""
    return Coded(_NOTE_FIELDS, drawn)


def people() -> Sequence[str]:
    """Names of persons."""
    return [f"{first} {last}" for first, last in product(_FIRST, _LAST)]


def companies() -> Sequence[str]:
    """Names of companies."""
    return [f"{last} {trade} {place}" for last, trade, place in product(_LAST, _TRADES, _PLACES)]


def operators(count: int) -> Sequence[str]:
    """User names of operators; nobody is made for them."""
    return [f"op{number:03d}" for number in range(1, count + 1)]


def _made_notes() -> list[str]:
    rng = np.random.default_rng(3)
    parts = zip(
        rng.integers(0, len(_WHO), _NOTES).tolist(),
        rng.integers(0, len(_WISHES), _NOTES).tolist(),
        rng.integers(10, 9999, _NOTES).tolist(),
        rng.integers(0, len(_TAILS), _NOTES).tolist(),
        strict=True,
    )
    return [_WHO[who] + _WISHES[wish].format(number) + _TAILS[tail] for who, wish, number, tail in parts]


NOTES: Sequence[str] = _made_notes()
_NOTE_FIELDS = texts([None, *NOTES])
