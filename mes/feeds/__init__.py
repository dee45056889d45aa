"""Feeds: files that shop, CRM and the old system export, landed and checked."""
