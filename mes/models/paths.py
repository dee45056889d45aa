"""Turns a feed's model path into a file, and never into one outside the folder of models."""

from pathlib import Path, PurePosixPath

from mes.errors import MesError


class OutsideModelRoot(MesError):
    """A model's path must lead to a file below the folder of models."""

    code, http_status = "outside_model_root", 422


class MissingModel(MesError):
    """There is no model at this path; put the file into the folder of models, or correct the path."""

    code, http_status = "missing_model", 422


def resolve_model(root: Path, relative: str) -> Path:
    """The file that a feed's `model` names.

    Args:
        root: folder of models.
        relative: path below it, with forward slashes.

    Raises:
        OutsideModelRoot: absolute, climbing (`..`), with a backslash, a drive or a control character, or a symbolic
            link that leaves the folder.
        MissingModel: no such file.
    """
    parts = PurePosixPath(relative).parts
    unsafe = not relative.isprintable() or "\\" in relative or ":" in relative
    if unsafe or not parts or parts[0] == "/" or ".." in parts:
        raise OutsideModelRoot(path=relative)
    base = root.resolve()
    try:
        found = (base / relative).resolve()
        if not found.is_relative_to(base):
            raise OutsideModelRoot(path=relative)
        present = found.is_file()
    except (OSError, RuntimeError) as error:  # too long a name; a circle of links
        raise MissingModel(path=relative[:200]) from error
    if not present:
        raise MissingModel(path=relative)
    return found
