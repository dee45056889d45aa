"""The root of every error that this system raises on purpose, so that edges can show it without guessing."""

from typing import ClassVar


class MesError(Exception):
    """Something that the caller can act on went wrong.

    Subclasses carry a stable `code` (for machines) and their docstring's first line is the message shown when none is
    given (for people). Facts given by keyword are kept in `facts` and appended to the message.
    """

    code: ClassVar[str] = "mes_error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, **facts: object) -> None:
        self.facts = facts
        self.message = message or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        super().__init__(self.message)

    def __str__(self) -> str:
        """The message, then the facts: `No such order. (order_id=...)`."""
        if not self.facts:
            return self.message
        return f"{self.message} ({', '.join(f'{name}={value}' for name, value in self.facts.items())})"
