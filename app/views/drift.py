"""Shows the orders on which shop or CRM say otherwise than we do, why, and what becomes of it."""

from collections.abc import Callable, Sequence
from functools import partial

import polars as pl
import streamlit as st

from app import actions, identity, queries, routes, words
from app.actions import Outcome
from app.queries import Drift, DriftCount, LastRun, Remedy
from app.sign_in import Permission

_SAID = "drift-said"
_SHOWN = 25


def render() -> None:
    """The page."""
    st.header("Drift", anchor=False)
    _tell()
    counts, runs = queries.drift_counts(), queries.last_comparisons()
    if not runs:
        st.info(
            "Nothing is compared yet: nobody has said where the shop and the CRM state their orders. "
            "Ask whoever runs the server to set MES_SHOP_STATEMENT_URL and MES_CRM_STATEMENT_URL.",
            icon=":material/info:",
        )
        return
    for run in runs:
        _show_run(run)
    if not counts:
        st.success("All is well: shop and CRM have every order as we do.", icon=":material/check_circle:")
        return
    _show_counts(counts)
    open_ones = queries.open_drift(_SHOWN)
    for found in open_ones:
        _show(found)
    more = sum(each.differences for each in counts) - len(open_ones)
    if more > 0:
        st.caption(f"{more} more; these come first.")


def _show_run(run: LastRun) -> None:
    name, at = words.system(run.system), words.moment(run.finished_at)
    if run.error is not None:
        st.warning(f"The last comparison with {name}, {at}, failed: {words.plain(run.error)}")
        return
    which = "all orders" if run.scope == "all" else "what changed lately"
    st.caption(f"{name}: compared {at}, {which}: {run.ours or 0:,} of ours with {run.stated or 0:,} of theirs")


def _show_counts(counts: Sequence[DriftCount]) -> None:
    rows = [
        {
            "System": words.system(each.system),
            "Kind": words.DRIFT_KINDS[each.kind],
            "Orders": each.differences,
            "Oldest (UTC)": each.oldest,
        }
        for each in counts
    ]
    st.dataframe(pl.DataFrame(rows), hide_index=True)


def _show(found: Drift) -> None:
    with st.container(border=True):
        number = words.plain(found.external_id)
        st.markdown(
            f"**{words.system(found.system)} about order {number}** \N{MIDDLE DOT} {words.DRIFT_KINDS[found.kind]}"
        )
        st.markdown(words.plain(found.explanation))
        st.caption(f"Since {words.moment(found.opened_at)} \N{MIDDLE DOT} {_what_becomes_of_it(found)}")
        with st.container(horizontal=True):
            if found.remedy is not Remedy.PERSON:
                _button("Repair now", partial(actions.repair_drift, found), f"repair-{found.drift_id}")
            if found.order_id is not None and st.button("Open the order", key=f"open-{found.drift_id}"):
                routes.switch_to_order(found.order_id)
        _accept(found)


def _accept(found: Drift) -> None:
    if not identity.signed_in().may(Permission.MESSAGES):
        return
    with st.expander("Let it be"), st.form(f"accept-{found.drift_id}", border=False):
        reason = st.text_input("Why it may stay as it is", max_chars=200)
        if st.form_submit_button("Accept it"):
            _done(actions.accept_drift(found, reason))


def _what_becomes_of_it(found: Drift) -> str:
    tried = f"repaired {found.repairs} times without effect" if found.repairs > 1 else ""
    if found.state == "person":
        return f"{tried}: a person has to look" if tried else "a person has to look"
    if found.repairs:
        return f"repaired {words.moment(found.repaired_at)}" if found.repaired_at else "repaired"
    return "it is repaired by itself"


def _button(label: str, act: Callable[[], Outcome], key: str) -> None:
    if identity.signed_in().may(Permission.MESSAGES) and st.button(label, key=key):
        _done(act())


def _done(outcome: Outcome) -> None:
    st.session_state[_SAID] = outcome
    st.rerun()


def _tell() -> None:
    outcome: Outcome | None = st.session_state.pop(_SAID, None)
    if outcome is not None and outcome.message:
        (st.success if outcome.done else st.warning)(outcome.message)
