"""Customers' 3D models: read them, measure them at arm's length, keep them and show them."""
