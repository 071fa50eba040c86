"""What the build and the image cost on one machine, beside the usual way. Run by `toolsmith-image bench`."""
