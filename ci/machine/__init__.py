"""One machine to run commands in, for consumers of the image. Runs on Python 3.10 too, with the standard library."""
