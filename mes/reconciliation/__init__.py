"""Compares our orders with what shop and CRM say of them, and mends or hands on what differs."""
