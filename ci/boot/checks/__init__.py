"""What an image is checked for, as data (checks.toml), and how an answer becomes a result."""
