"""Turns a measured model, a customer's options and a rate card into a price that anyone can check by hand."""
