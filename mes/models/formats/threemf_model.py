"""What a 3MF model part states: objects, and where they are placed."""

from array import array
from dataclasses import dataclass, field

import numpy as np

from mes.models.errors import ModelTooLarge
from mes.models.formats.text import Faces
from mes.models.mesh import MAX_TRIANGLES, Floats

MM_PER_UNIT = {"micron": 0.001, "millimeter": 1.0, "centimeter": 10.0, "inch": 25.4, "foot": 304.8, "meter": 1000.0}
MAX_POINTS = 3 * MAX_TRIANGLES
IDENTITY = np.vstack((np.eye(3), np.zeros(3)))
"""The transform of what is placed as it is."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A placed object: a component, or an item of the build."""

    object_id: str
    path: str | None
    transform: Floats
    """float64 (4, 3): a point p (row vector) goes to p @ transform[:3] + transform[3], in the part's unit."""


@dataclass(slots=True)
class Object:
    """A mesh, or a composition of other objects."""

    kind: str
    coordinates: "array[float]" = field(default_factory=lambda: array("d"))
    corners: "array[int]" = field(default_factory=lambda: array("i"))
    components: list[Instance] = field(default_factory=list)
    bodies: int = 0
    beams: bool = False

    @property
    def points(self) -> Floats:
        """float64 (N, 3), in the part's unit."""
        return np.frombuffer(self.coordinates, np.float64).reshape(-1, 3)

    @property
    def faces(self) -> Faces:
        """int32 (F, 3)."""
        return np.frombuffer(self.corners, np.int32).reshape(-1, 3)

    def check_size(self) -> None:
        """Raises ModelTooLarge where no model can be meant."""
        if len(self.corners) > 3 * MAX_TRIANGLES or len(self.coordinates) > 3 * MAX_POINTS:
            raise ModelTooLarge(most=MAX_TRIANGLES)


@dataclass(slots=True)
class Part:
    """What one model part states."""

    unit: str = "millimeter"
    objects: dict[str, Object] = field(default_factory=dict)
    build: list[Instance] = field(default_factory=list)
