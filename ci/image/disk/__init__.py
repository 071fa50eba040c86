"""The disk of an image: its layout, its layers, and files read out of it."""
