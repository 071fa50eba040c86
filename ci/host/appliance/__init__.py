"""libguestfs's appliance: driven by guestfish, and whether it starts on this machine."""
