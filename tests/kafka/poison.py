"""Whose labels the faulty worker fails on; apart from it, as who imports that takes on its bug and its event loop."""

POISON = b"poisonous-member"
