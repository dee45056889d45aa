"""Holds what all answers are made of: what these models say is what is sent, and what `/openapi.json` promises."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from mes.callers.idempotency import Answer
from mes.jobs.queue import COUNTED, Progress, State

Amount = Annotated[str, Field(pattern=r"^-?\d+\.\d{2}$", examples=["129.40"])]
Number = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?(E[+-]?\d+)?$", examples=["3.1415"])]


class Shape(BaseModel):
    """A part of an answer; further members may come with time, so clients should ignore what they don't know."""

    model_config = ConfigDict(frozen=True)

    def answer(self, status: int = 200, **headers: str) -> Answer:
        """This as the answer to a request; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status, {"content-type": "application/json", **named}, self.model_dump_json())


class Money(Shape):
    """An amount as decimal text, so that no reader turns it into a binary fraction."""

    amount: Amount
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["USD"])]

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> Self:
        """To the cent."""
        return cls(amount=f"{amount:.2f}", currency=currency)


class Waiting(Shape):
    """How far something is that is not done yet."""

    state: State
    ahead: Annotated[int, Field(ge=0, le=COUNTED, description=f"Jobs that go first; {COUNTED} may be more.")]
    since: Annotated[datetime, Field(description="Since when it waits, or is being measured.")]

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """As it stands."""
        return cls(state=progress.state, ahead=progress.ahead, since=progress.since)
