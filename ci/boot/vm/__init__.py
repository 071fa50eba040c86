"""One virtual machine: its arguments, its monitor, its console, the way into it."""
