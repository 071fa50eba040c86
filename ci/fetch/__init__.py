"""Bytes from the web: resumed, verified while they stream, and whole or absent under their final name.

All of it runs on Python 3.10 too, for consumers of the image.
"""
