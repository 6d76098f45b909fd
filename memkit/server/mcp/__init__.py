"""A memory as a server of the Model Context Protocol, for agents of any make."""
