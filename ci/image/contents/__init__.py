"""What is in a finished image, told by its own bytes, and its bill of materials."""
