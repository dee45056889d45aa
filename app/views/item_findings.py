"""Shows what is doubtful about a piece, the worst first, and where, so that a person can decide what to do about it."""

from collections.abc import Sequence

import streamlit as st

from app import words
from app.queries import Finding, Item


def choose(item: Item) -> Finding | None:
    """All findings, and the one whose places the picture shows: the worst, until the person chooses another."""
    st.markdown("**Findings**")
    if item.geometry is None:
        st.caption("Nothing is known yet: the model has not been measured.")
        return None
    if not item.findings:
        st.success("Nothing is doubtful about this piece.", icon=":material/check_circle:")
    if item.geometry.box_mm is None:
        st.caption("It was measured before walls were looked at; a new quote measures it again.")
    if not item.findings:
        return None
    return st.radio(
        "Findings",
        item.findings,
        format_func=_headline,
        captions=[_advice(finding) for finding in item.findings],
        key=f"finding_of_{item.line}",
        label_visibility="collapsed",
        width="stretch",
    )


def show_places(finding: Finding, hidden: Sequence[bool] | None) -> None:
    """Where a finding is, in the file's coordinates, with the numbers that the picture has."""
    if not finding.coordinates:
        st.caption("This finding is about the whole piece.")
        return
    far = hidden if hidden is not None else [False] * len(finding.coordinates)
    places = [
        f"**{number}** ({', '.join(f'{axis:.4g}' for axis in place)}){', on the far side' if behind else ''}"
        for number, (place, behind) in enumerate(zip(finding.coordinates, far, strict=True), start=1)
    ]
    st.caption("Where, in the file's coordinates: " + " \N{MIDDLE DOT} ".join(places))
    if hidden is None:
        st.caption("The picture was drawn before places could be marked on it.")


def _headline(finding: Finding) -> str:
    return f"{words.severity(finding.severity)}\N{EN SPACE}{words.plain(finding.message)}"


def _advice(finding: Finding) -> str:
    measured = f" ({words.plain(words.measure(finding.measure))})" if finding.measure is not None else ""
    return words.plain(finding.advice) + measured
