"""The ways by which events leave and arrive; the outbox and the inbox do not depend on which."""
