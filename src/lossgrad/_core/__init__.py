"""How a call is made: arguments checked, the backend chosen, the environment left as found."""
