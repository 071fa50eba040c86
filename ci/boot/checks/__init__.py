"""What is asked of a guest, as data, and how an answer becomes a result."""
