"""Defaults that can be told from the same number given."""


class _Default(int):
    """A number that nobody gave."""


LAST_AXIS: int = _Default(-1)
