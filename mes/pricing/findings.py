"""Says in words what is doubtful about a model, so that a person can decide."""

from dataclasses import dataclass
from enum import StrEnum

from mes.pricing.geometry import Geometry


class Severity(StrEnum):
    """How much a finding matters: with an error, the price is a guess and the order waits for a person."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubtful thing about a model: what kind, how bad, what it is in words, and how to mend it."""

    kind: str
    severity: Severity
    message: str
    advice: str


def of_geometry(geometry: Geometry) -> list[Finding]:
    """What is doubtful about a model of this geometry; empty when nothing is."""
    found = []
    if not geometry.closed:
        message = f"The model is open at {geometry.open_edges} edges, so its volume and price are a guess."
        found.append(Finding("open_edges", Severity.ERROR, message, "Close the holes."))
    if geometry.facing != "outward":
        message = f"The model is turned inside out ({geometry.facing}), so its volume and price are a guess."
        found.append(Finding("inside_out", Severity.ERROR, message, "Flip its faces."))
    return found
