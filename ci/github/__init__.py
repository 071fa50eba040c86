"""GitHub's REST API: the one room that knows PyGithub."""
