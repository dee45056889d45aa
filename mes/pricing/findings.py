"""Says in words what is doubtful about a model, so that a person can decide."""

from mes.pricing.geometry import Geometry


def of_geometry(geometry: Geometry) -> list[str]:
    """What makes a price of this geometry a guess; empty when nothing does."""
    found = []
    if not geometry.closed:
        found.append(
            f"The model is open at {geometry.open_edges} edges, so its volume and price are a guess: close the holes."
        )
    if geometry.facing != "outward":
        found.append(
            f"The model is turned inside out ({geometry.facing}), so its volume and price are a guess: flip its faces."
        )
    return found
