"""Prices that somebody was told: frozen, renewed until they are agreed, recomputed to the cent."""
