"""The field: how right other libraries are, and whether their bits stay the same."""
