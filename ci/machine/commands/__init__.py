"""The commands that start machines and run commands in them: flags in, exit code out."""
