"""Whether KVM works on this machine: found out by starting a kernel, because nothing less tells."""
