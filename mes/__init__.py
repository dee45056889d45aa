"""Atelier MES: the domain core and its storage, free of any framework above it."""
