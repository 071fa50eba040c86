"""Two images beside each other, wherever they are known from, and the difference in words."""
