"""Shows how the system itself is, in words: what is wrong, what to do about it, and what waits for how long."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from app import queries, words
from app.queries import Sample, Urgency, Wrong
from app.trouble import explained

_LOOK_EVERY_S = 5
# what waits: how many there are, and how long the first has waited
_BACKLOGS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("Changes to be listed", "mes_refresh_marks_waiting", "mes_refresh_oldest_mark_age_seconds", {}),
    ("Events without a position", "mes_outbox_events_waiting", "mes_outbox_oldest_age_seconds", {}),
    ("Events to be told", "mes_carrier_events_waiting", "mes_carrier_oldest_age_seconds", {}),
    ("Orders with news of shop or CRM", "mes_inbox_due_orders", "mes_inbox_oldest_due_age_seconds", {}),
    ("Orders that miss an event", "mes_inbox_gaps", "mes_inbox_oldest_gap_age_seconds", {}),
    ("Calls to webhooks", "mes_webhook_calls_due", "mes_webhook_oldest_due_age_seconds", {}),
    ("Orders to be priced", "mes_queue_jobs", "mes_queue_oldest_job_age_seconds", {"queue": "pricing"}),
    ("Models to be measured", "mes_queue_jobs", "mes_queue_oldest_job_age_seconds", {"queue": "measuring"}),
)


def render() -> None:
    """The page."""
    st.header("System", anchor=False)
    _now()


@st.fragment(run_every=_LOOK_EVERY_S)
@explained
def _now() -> None:
    found, wrong = queries.system_health()
    if wrong:
        for each in wrong:
            _show(each)
    else:
        st.success("All is well.", icon=":material/check_circle:")
    st.subheader("What waits", anchor=False)
    st.dataframe(pl.DataFrame(_waiting(found)), hide_index=True)
    st.subheader("Longest in a status", anchor=False)
    stays = _stays(found)
    if stays:
        st.dataframe(pl.DataFrame(stays), hide_index=True)
    else:
        st.caption("No order is open.")
    st.caption(f"Looked at every {_LOOK_EVERY_S} seconds. Whoever is on call finds the same as alerts, with runbooks.")


def _show(wrong: Wrong) -> None:
    condition, sample = wrong.condition, wrong.sample
    facts = {name: words.system(words.plain(value)) for name, value in sample.labels.items()}
    said = condition.says.format(**facts, age=words.lasting(sample.value), number=f"{sample.value:,.0f}")
    urgent = condition.urgency is Urgency.PAGE
    (st.error if urgent else st.warning)(
        f"**{said}** {condition.do}", icon=":material/error:" if urgent else ":material/warning:"
    )


def _waiting(found: Sequence[Sample]) -> list[dict[str, str]]:
    rows = []
    for title, number, age, where in _BACKLOGS:
        if not any(sample.gauge == age for sample in found):
            rows.append({"What": title, "How many": "not known", "The first, for": ""})
            continue
        many, longest = _sum(found, number, where), max(_values(found, age, where), default=0.0)
        rows.append(
            {"What": title, "How many": f"{many:,.0f}", "The first, for": words.lasting(longest) if many else ""}
        )
    return rows


def _stays(found: Sequence[Sample]) -> list[dict[str, str]]:
    longest = {
        sample.labels["status"]: sample.value
        for sample in found
        if sample.gauge == "mes_orders_oldest_in_status_seconds" and sample.value > 0
    }
    return [
        {"Status": words.status(status), "For": words.lasting(longest[status.value])}
        for status in queries.OPEN_STATUSES
        if status.value in longest
    ]


def _sum(found: Sequence[Sample], gauge: str, where: dict[str, str]) -> float:
    """Of jobs, those alone that could run: others are scheduled for later, or run."""
    states = {"state": "waiting"} if gauge == "mes_queue_jobs" else {}
    return sum(_values(found, gauge, where | states))


def _values(found: Sequence[Sample], gauge: str, where: dict[str, str]) -> list[float]:
    return [sample.value for sample in found if sample.gauge == gauge and where.items() <= sample.labels.items()]
