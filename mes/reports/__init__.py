"""Answers managers' questions about flow from dbt's read models."""
