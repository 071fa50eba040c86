"""Bytes from the web: resumed, verified while they stream, and whole or absent under their final name."""
