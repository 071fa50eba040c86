"""What becomes of the base's packages: planned, guarded, fetched, and put into an archive for the guest."""
