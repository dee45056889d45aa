"""Names the ways in which a 3D model can be unusable, so that every edge says the same thing about it."""

from mes.errors import MesError


class NoSuchModel(MesError):
    """You have uploaded no model with this id; upload it first, whoever else may have."""

    code, http_status = "no_such_model", 404


class UnreadableModel(MesError):
    """This file cannot be read as a 3D model; export it again as STL, OBJ, PLY or 3MF."""

    code, http_status = "unreadable_model", 422


class UnknownFormat(UnreadableModel):
    """This file is none of STL, OBJ, PLY and 3MF."""

    code = "unknown_model_format"


class NotAMesh(UnreadableModel):
    """This file holds no surface, so it has no volume to price; export the model as a triangle mesh."""

    code = "not_a_mesh"


class ModelTooLarge(UnreadableModel):
    """This model is larger than we read; reduce its number of triangles."""

    code, http_status = "model_too_large", 413


class ModelTooSlow(UnreadableModel):
    """This model took too long to measure; reduce its number of triangles."""

    code = "model_too_slow"


class ModelTooMuchMemory(UnreadableModel):
    """This model needs more memory than one model may take; reduce its number of triangles."""

    code = "model_too_much_memory"


class ModelCrashed(UnreadableModel):
    """Reading this model ended abnormally; export it again with another program."""

    code = "model_crashed"


BY_CODE: dict[str, type[UnreadableModel]] = {
    error.code: error
    for error in (
        UnreadableModel, UnknownFormat, NotAMesh, ModelTooLarge, ModelTooSlow, ModelTooMuchMemory, ModelCrashed,
    )
}  # fmt: skip
