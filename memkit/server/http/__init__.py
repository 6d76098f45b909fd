"""A memory over HTTP: OpenAI's endpoints and a REST interface; needs the extra ``serve``."""
